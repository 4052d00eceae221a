// Static checks of the Dockerfile, .dockerignore and compose.yml: rules of a plain container, of SageMaker and of Lambda.
// .github/workflows/ci.yml builds the images.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { SETTINGS } from '../../src/config.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { createApp } from '../../src/serve/routes.ts'
import { execForm, expand, ignoredBy, pairsOf, parseDockerfile, stagesFor } from './dockerfile.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const TEXT = read('Dockerfile')
const FILE = parseDockerfile(TEXT)
const STAGES = FILE.stages.map(({ name }) => name)
const ALL = FILE.stages.flatMap(({ instructions }) => instructions)
const LAST = FILE.stages.at(-1)!.instructions
/** Returns the only instruction of this name in the last stage. */
const instruction = (name: string) => {
  const found = LAST.filter((each) => each.name === name)
  expect(found).toHaveLength(1)
  return found[0]!
}

describe('the parser', () => {
  test('joins continued lines, skips comments, parses flags and counts lines', () => {
    const { stages } = parseDockerfile(
      'FROM a:1 AS b\n# note\nRUN --mount=type=cache,target=/x one \\\n  # within\n  && two\n',
    )
    expect(stages).toEqual([
      {
        name: 'b',
        base: 'a:1',
        instructions: [
          { name: 'RUN', flags: { mount: 'type=cache,target=/x' }, text: 'one   && two', line: 3 },
        ],
      },
    ])
  })

  test('replaces build arguments in FROM', () => {
    const text = 'ARG KIND=cpu\nFROM on-$KIND AS last'
    expect(parseDockerfile(text).stages[0]!.base).toBe('on-cpu')
    expect(parseDockerfile(text, { KIND: 'cuda' }).stages[0]!.base).toBe('on-cuda')
  })

  test('refuses a line without an instruction, and an instruction before FROM', () => {
    expect(() => parseDockerfile('FROM a:1\n&& two')).toThrow('Line 2')
    expect(() => parseDockerfile('RUN a')).toThrow('before the first FROM')
  })

  test('the last matching line of .dockerignore decides', () => {
    const isIgnored = ignoredBy('*\n!src\nsrc/secret\n')
    expect(['src/a.ts', 'src/secret/b', '.env', 'srcs'].map(isIgnored)).toEqual([false, true, true, true])
  })
})

test('every base image is pinned by a tag other than latest', () => {
  const images = FILE.stages.map(({ base }) => base).filter((base) => !STAGES.includes(base))
  const unpinned = images.filter((image) => image !== 'scratch' && !/:(?!latest)[\w.-]+$/.test(image))
  expect(unpinned).toEqual([])
  expect(images.filter((image) => image !== 'scratch')).toHaveLength(3)
})

test('both devices end in the stage glimpse, and only cuda needs the CUDA libraries', () => {
  const needed = (DEVICE: string) => stagesFor(parseDockerfile(TEXT, { DEVICE })).map(({ name }) => name)
  expect(needed('cpu').at(-1)).toBe('glimpse')
  expect(needed('cpu')).not.toContain('packages-cuda')
  expect(needed('cuda').at(-1)).toBe('glimpse')
  expect(needed('cuda')).toContain('packages-cuda')
  expect(needed('cuda')).toContain('on-cuda')
})

test('installs the CUDA libraries by the name that onnxruntime-node knows', () => {
  const cuda = FILE.stages.find(({ name }) => name === 'packages-cuda')!.instructions
  const [, value, script] = /^ONNXRUNTIME_NODE_INSTALL=(\w+) node (\S+)$/.exec(cuda[0]!.text)!
  expect(existsSync(join(ROOT, script!))).toBe(true)
  expect(read('node_modules/onnxruntime-node/script/install-metadata.js')).toContain(`'linux/x64:${value}'`)
})

test('the entry point is in exec form, so that the program receives SIGTERM itself', () => {
  const entry = execForm(instruction('ENTRYPOINT').text)
  expect(entry?.[0]).toBe('node')
  expect(execForm(instruction('CMD').text)).toEqual(['serve'])
  expect(TEXT).not.toMatch(/tini|dumb-init/)
  expect(instruction('STOPSIGNAL').text).toBe('SIGTERM')
})

test('the entry point is the installed program', () => {
  const path = execForm(instruction('ENTRYPOINT').text)![1]!
  expect(path).toBe(`${instruction('WORKDIR').text}/${JSON.parse(read('package.json')).bin.glimpse}`)
})

test('runs as the user node unless the build argument RUN_AS names another', () => {
  const [runAs] = LAST.filter(({ name }) => name === 'ARG').map(({ text }) => text)
  expect(runAs).toBe('RUN_AS=node')
  expect(instruction('USER').text).toBe('$RUN_AS')
})

test('exposes the default port', () => {
  const port = String(SETTINGS.port.fallback())
  expect(instruction('EXPOSE').text).toBe(port)
  const { AWS_LWA_PORT, GLIMPSE_PORT, PORT } = environment()
  expect(AWS_LWA_PORT).toBe(port)
  // Cloud Run sets PORT, which GLIMPSE_PORT in the image would override.
  expect([GLIMPSE_PORT, PORT]).toEqual([undefined, undefined])
})

test('the path of the health check answers 200 before the model is ready', async () => {
  const command = execForm(instruction('HEALTHCHECK').text.replace(/^CMD /, ''))!
  const [, path] = /\}(\/\w+)`/.exec(command.at(-1)!)!
  const app = createApp(new Promise<Engine>(() => {}))
  expect((await app.request(path!)).status).toBe(200)
})

test('the path that the Lambda Web Adapter polls answers an unhealthy status until the model is ready', async () => {
  const path = environment().AWS_LWA_READINESS_CHECK_PATH!
  const app = createApp(new Promise<Engine>(() => {}))
  expect((await app.request(path)).status).toBe(503)
  const [from, to] = environment().AWS_LWA_READINESS_CHECK_HEALTHY_STATUS!.split('-').map(Number)
  expect(503 >= from! && 503 <= to!).toBe(false)
})

test('every GLIMPSE variable is a setting with a valid value', () => {
  const known = new Map(Object.values(SETTINGS).map((setting) => [setting.env as string, setting]))
  const set = ALL.filter(({ name }) => name === 'ENV').flatMap(({ text }) => pairsOf(text))
  for (const [name, value] of set.filter(([each]) => each.startsWith('GLIMPSE_'))) {
    expect(known.get(name)?.parse(value), name).toBeDefined()
  }
  expect(set.map(([name]) => name)).toContain('MALLOC_ARENA_MAX')
})

test('no build argument and no variable names a secret', () => {
  const named = ALL.filter(({ name }) => name === 'ENV' || name === 'ARG').map(({ text }) => text)
  expect(
    [...named, ...Object.keys(FILE.args)].filter((text) => /token|secret|passw|_key/i.test(text)),
  ).toEqual([])
})

test('every copied path exists, and .dockerignore does not exclude it', () => {
  const isIgnored = ignoredBy(read('.dockerignore'))
  const sources = ALL.filter(({ name, flags }) => name === 'COPY' && flags.from === undefined).flatMap(
    ({ text }) => text.split(/\s+/).slice(0, -1),
  )
  expect(sources.length).toBeGreaterThan(8)
  expect(sources.filter((path) => !existsSync(join(ROOT, path)) || isIgnored(path))).toEqual([])
})

test('every COPY --from names a stage of the file', () => {
  const from = ALL.filter(({ name, flags }) => name === 'COPY' && flags.from !== undefined)
  expect(from.filter(({ flags }) => !STAGES.includes(flags.from!))).toEqual([])
})

test('.dockerignore excludes secrets, state, build output and other models', () => {
  const isIgnored = ignoredBy(read('.dockerignore'))
  const sent = readdirSync(ROOT).filter((path) => !isIgnored(path))
  expect(sent.filter((path) => /env|\.git|dist|node_modules|\.glimpse/.test(path))).toEqual([])
  expect(['.env', 'glimpse.env', '.git/config', 'models/mine', '.glimpse/state'].map(isIgnored)).toEqual(
    Array(5).fill(true),
  )
})

test('installs production packages and the optional parts from the lock file, without development packages', () => {
  const { instructions } = FILE.stages.find(({ name }) => name === 'packages')!
  const [parts, install] = instructions.filter(({ name }) => name === 'RUN')
  expect(parts!.text).toBe('node scripts/all-parts.mjs')
  expect(install!.text).toMatch(/^npm ci --omit=dev --ignore-scripts /)
})

describe('compose.yml', () => {
  const compose = read('compose.yml')

  test('names only settings that exist', () => {
    const named = `${compose}\n${read('deploy/glimpse.env.example')}`.match(/^\s*([A-Z][A-Z_]+)(?=[=:])/gm)!
    const known = Object.values(SETTINGS).map(({ env }) => env as string)
    expect(named.map((name) => name.trim()).filter((name) => !known.includes(name))).toEqual([])
    expect(named.length).toBeGreaterThan(5)
  })

  test('deploy/glimpse.env.example holds no value', () => {
    const lines = read('deploy/glimpse.env.example').split('\n')
    expect(lines.filter((line) => /^[A-Z_]+=./.test(line))).toEqual([])
  })

  test('mounts the volume at GLIMPSE_STATE; the rest is read-only', () => {
    expect(compose).toContain(`- state:${environment().GLIMPSE_STATE}\n`)
    for (const line of ['read_only: true', 'cap_drop: [ALL]', 'mem_limit: ', 'no-new-privileges:true']) {
      expect(compose).toContain(line)
    }
    expect(compose).toContain(`:${SETTINGS.port.fallback()}\n`)
  })
})

function environment(): Record<string, string> {
  return Object.fromEntries(pairsOf(expand(instruction('ENV').text, FILE.args)))
}
