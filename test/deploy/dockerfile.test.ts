// The Dockerfile keeps the rules that a container is run by here, on SageMaker and on Lambda. deploy/ is proved by
// scripts/prove-container.ts, which executes it; these are the rules that can be read off.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { execForm, expand, ignoredBy, pairsOf, parseDockerfile, stagesFor } from '../../scripts/dockerfile.ts'
import { SETTINGS } from '../../src/config.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { createApp } from '../../src/serve/routes.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const TEXT = read('Dockerfile')
const FILE = parseDockerfile(TEXT)
const STAGES = FILE.stages.map(({ name }) => name)
const ALL = FILE.stages.flatMap(({ instructions }) => instructions)
const LAST = FILE.stages.at(-1)!.instructions
const one = (name: string) => {
  const found = LAST.filter((instruction) => instruction.name === name)
  expect(found).toHaveLength(1)
  return found[0]!
}

describe('the parser', () => {
  test('joins lines, leaves comments out, reads flags and counts lines', () => {
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

  test('puts build arguments into FROM', () => {
    const text = 'ARG KIND=cpu\nFROM on-$KIND AS last'
    expect(parseDockerfile(text).stages[0]!.base).toBe('on-cpu')
    expect(parseDockerfile(text, { KIND: 'cuda' }).stages[0]!.base).toBe('on-cuda')
  })

  test('refuses what is no instruction', () => {
    expect(() => parseDockerfile('FROM a:1\n&& two')).toThrow('Line 2')
    expect(() => parseDockerfile('RUN a')).toThrow('before the first FROM')
  })

  test('of .dockerignore the last line that fits decides', () => {
    const isIgnored = ignoredBy('*\n!src\nsrc/secret\n')
    expect(['src/a.ts', 'src/secret/b', '.env', 'srcs'].map(isIgnored)).toEqual([false, true, true, true])
  })
})

test('every image it stands on is pinned by a tag that is not latest', () => {
  const images = FILE.stages.map(({ base }) => base).filter((base) => !STAGES.includes(base))
  const unpinned = images.filter((image) => image !== 'scratch' && !/:(?!latest)[\w.-]+$/.test(image))
  expect(unpinned).toEqual([])
  expect(images.filter((image) => image !== 'scratch')).toHaveLength(3)
})

test('each device gives an image that ends in the same stage, and only the GPU takes the CUDA libraries', () => {
  const needed = (DEVICE: string) => stagesFor(parseDockerfile(TEXT, { DEVICE })).map(({ name }) => name)
  expect(needed('cpu').at(-1)).toBe('glimpse')
  expect(needed('cpu')).not.toContain('packages-cuda')
  expect(needed('cuda').at(-1)).toBe('glimpse')
  expect(needed('cuda')).toContain('packages-cuda')
  expect(needed('cuda')).toContain('on-cuda')
})

test('the CUDA libraries come by the name that onnxruntime-node knows, past .npmrc', () => {
  const cuda = FILE.stages.find(({ name }) => name === 'packages-cuda')!.instructions
  const [, value, script] = /^ONNXRUNTIME_NODE_INSTALL=(\w+) node (\S+)$/.exec(cuda[0]!.text)!
  expect(existsSync(join(ROOT, script!))).toBe(true)
  expect(read('node_modules/onnxruntime-node/script/install-metadata.js')).toContain(`'linux/x64:${value}'`)
})

test('the program is started in exec form and gets its signals itself: no shell, no tini', () => {
  const entry = execForm(one('ENTRYPOINT').text)
  expect(entry?.[0]).toBe('node')
  expect(execForm(one('CMD').text)).toEqual(['serve'])
  expect(TEXT).not.toMatch(/tini|dumb-init/)
  expect(one('STOPSIGNAL').text).toBe('SIGTERM')
})

test('the entry point is where the program is put', () => {
  const path = execForm(one('ENTRYPOINT').text)![1]!
  expect(path).toBe(`${one('WORKDIR').text}/${JSON.parse(read('package.json')).bin.glimpse}`)
})

test('it does not run as root unless it is told to at the build', () => {
  const [runAs] = LAST.filter(({ name }) => name === 'ARG').map(({ text }) => text)
  expect(runAs).toBe('RUN_AS=node')
  expect(one('USER').text).toBe('$RUN_AS')
})

test('the port it says is the one it listens on unless told otherwise', () => {
  const port = String(SETTINGS.port.fallback())
  expect(one('EXPOSE').text).toBe(port)
  const { AWS_LWA_PORT, GLIMPSE_PORT, PORT } = environment()
  expect(AWS_LWA_PORT).toBe(port)
  // Cloud Run gives PORT, which a setting of ours would beat.
  expect([GLIMPSE_PORT, PORT]).toEqual([undefined, undefined])
})

test('its health check asks an address that answers as soon as the process lives', async () => {
  const command = execForm(one('HEALTHCHECK').text.replace(/^CMD /, ''))!
  const [, path] = /\}(\/\w+)`/.exec(command.at(-1)!)!
  const app = createApp(new Promise<Engine>(() => {}))
  expect((await app.request(path!)).status).toBe(200)
})

test('the adapter waits at an address that says no until the model is there', async () => {
  const path = environment().AWS_LWA_READINESS_CHECK_PATH!
  const app = createApp(new Promise<Engine>(() => {}))
  expect((await app.request(path)).status).toBe(503)
  const [from, to] = environment().AWS_LWA_READINESS_CHECK_HEALTHY_STATUS!.split('-').map(Number)
  expect(503 >= from! && 503 <= to!).toBe(false)
})

test('what it sets are settings, with values that they take', () => {
  const known = new Map(Object.values(SETTINGS).map((setting) => [setting.env as string, setting]))
  const set = ALL.filter(({ name }) => name === 'ENV').flatMap(({ text }) => pairsOf(text))
  for (const [name, value] of set.filter(([each]) => each.startsWith('GLIMPSE_'))) {
    expect(known.get(name)?.parse(value), name).toBeDefined()
  }
  expect(set.map(([name]) => name)).toContain('MALLOC_ARENA_MAX')
})

test('no secret is named in it, as argument or as environment', () => {
  const named = ALL.filter(({ name }) => name === 'ENV' || name === 'ARG').map(({ text }) => text)
  expect(
    [...named, ...Object.keys(FILE.args)].filter((text) => /token|secret|passw|_key/i.test(text)),
  ).toEqual([])
})

test('whatever it copies from here is here, and .dockerignore lets it through', () => {
  const isIgnored = ignoredBy(read('.dockerignore'))
  const sources = ALL.filter(({ name, flags }) => name === 'COPY' && flags.from === undefined).flatMap(
    ({ text }) => text.split(/\s+/).slice(0, -1),
  )
  expect(sources.length).toBeGreaterThan(8)
  expect(sources.filter((path) => !existsSync(join(ROOT, path)) || isIgnored(path))).toEqual([])
})

test('whatever it copies from another stage, that stage is in it', () => {
  const from = ALL.filter(({ name, flags }) => name === 'COPY' && flags.from !== undefined)
  expect(from.filter(({ flags }) => !STAGES.includes(flags.from!))).toEqual([])
})

test('nothing that could hold a secret or another model reaches the builder', () => {
  const isIgnored = ignoredBy(read('.dockerignore'))
  const let_through = readdirSync(ROOT).filter((path) => !isIgnored(path))
  expect(let_through.filter((path) => /env|\.git|dist|node_modules|\.glimpse/.test(path))).toEqual([])
  expect(['.env', 'glimpse.env', '.git/config', 'models/mine', '.glimpse/state'].map(isIgnored)).toEqual(
    Array(5).fill(true),
  )
})

test('production packages are installed from the lock, without the packages of development', () => {
  const { instructions } = FILE.stages.find(({ name }) => name === 'packages')!
  const [install] = instructions.filter(({ name }) => name === 'RUN')
  expect(install!.text).toMatch(/^npm ci --omit=dev --ignore-scripts /)
})

describe('compose.yml', () => {
  const compose = read('compose.yml')

  test('names only settings there are', () => {
    const named = `${compose}\n${read('deploy/glimpse.env.example')}`.match(/^\s*([A-Z][A-Z_]+)(?=[=:])/gm)!
    const known = Object.values(SETTINGS).map(({ env }) => env as string)
    expect(named.map((name) => name.trim()).filter((name) => !known.includes(name))).toEqual([])
    expect(named.length).toBeGreaterThan(5)
  })

  test('the example of settings holds no value', () => {
    const lines = read('deploy/glimpse.env.example').split('\n')
    expect(lines.filter((line) => /^[A-Z_]+=./.test(line))).toEqual([])
  })

  test('its volume is where the image keeps its state, and the rest is read-only', () => {
    expect(compose).toContain(`- state:${environment().GLIMPSE_STATE}\n`)
    for (const line of ['read_only: true', 'cap_drop: [ALL]', 'mem_limit: ', 'no-new-privileges:true']) {
      expect(compose).toContain(line)
    }
    expect(compose).toContain(`:${SETTINGS.port.fallback()}\n`)
  })
})

function environment(): Record<string, string> {
  return Object.fromEntries(pairsOf(expand(one('ENV').text, FILE.args)))
}
