// The tarball of `npm pack` as users get it: installed into an empty folder by npm 10 and 11, while no host but the npm registry
// can be reached, then run as commands, as a library and from TypeScript. Needs the npm registry.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const run = promisify(execFile)
const MB = 1024 * 1024
/** Of an installed Glimpse with all that it depends on. */
const MOST_MB = 190
const CAPTION = 'a crab to the left of a helicopter on a yellow background'

/** Refuses connections to other hosts than the registry, and writes their names into a file. */
const GUARD = `
const { Socket } = require('node:net')
const { connect } = Socket.prototype
Socket.prototype.connect = function (...args) {
  const [{ host, path } = {}] = [args[0]].flat()
  if (path || host === 'registry.npmjs.org' || host === '127.0.0.1') return connect.apply(this, args)
  require('node:fs').appendFileSync(process.env.REFUSED, host + '\\n')
  process.nextTick(() => this.destroy(new Error('no way to ' + host)))
  return this
}
`

let room: string
let tarball: string
let refused: string
/** Folders by the npm that installed them. */
const installed: Record<string, string> = {}

/** A bare environment: nothing of this process' npm. */
const environment = () => ({
  PATH: process.env.PATH!,
  HOME: join(room, 'home'),
  NODE_OPTIONS: `--require ${join(room, 'guard.cjs')}`,
  REFUSED: refused,
})

/** Runs a program of node in a folder. @returns what it printed, both streams, and its exit status */
async function node(folder: string, args: string[], env: Record<string, string> = {}) {
  const options = { cwd: folder, env: { ...environment(), ...env }, maxBuffer: 32 * MB }
  return await run(process.execPath, args, options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code: code as number, stdout, stderr }),
  )
}

const tool = (path: string) => join(room, 'tools/node_modules', path)
const npx = (npm: string, args: string[], env?: Record<string, string>) =>
  node(installed[npm]!, [tool(`${npm}/bin/npx-cli.js`), ...args], env)

beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-package-'))
  refused = join(room, 'refused.txt')
  await mkdir(join(room, 'home'))
  await writeFile(refused, '')
  await writeFile(join(room, 'guard.cjs'), GUARD)
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', room], { cwd: ROOT })
  tarball = join(room, stdout.trim().split('\n').at(-1)!)
  const tools = [
    'npm10@npm:npm@10.9.9',
    'npm11@npm:npm@11.19.1',
    'publint@0.3.25',
    '@arethetypeswrong/cli@0.18.5',
  ]
  const more = ['typescript@5.9.3', '@types/node@20.19.43']
  const args = ['install', '--no-audit', '--no-fund', '--silent', '--prefix', join(room, 'tools')]
  await run('npm', [...args, ...tools, ...more])
  for (const npm of ['npm10', 'npm11']) {
    installed[npm] = join(room, npm)
    await mkdir(installed[npm])
    await cp(join(ROOT, 'models/demo/crab-and-helicopter.png'), join(installed[npm], 'picture.png'))
    const { code, stderr } = await node(installed[npm], [tool(`${npm}/bin/npm-cli.js`), 'install', tarball])
    expect(code, stderr).toBe(0)
  }
}, 600_000)
afterAll(() => rm(room, { recursive: true, maxRetries: 5 }))

describe.each(['npm10', 'npm11'])('installed by %s', (npm) => {
  test('it captions, answers and matches, without a warning', async () => {
    const caption = await npx(npm, ['glimpse', 'caption', 'picture.png'])
    expect(caption).toEqual({ code: 0, stdout: `${CAPTION}\n`, stderr: '' })
    const answer = await npx(npm, ['glimpse', 'ask', 'picture.png', 'what is on the right?'])
    expect(answer).toEqual({ code: 0, stdout: 'a helicopter\n', stderr: '' })
    const match = await npx(npm, ['glimpse', 'match', 'picture.png', CAPTION, 'seven blue shoes', '--json'])
    expect(match).toMatchObject({ code: 0, stderr: '' })
    const { matches } = JSON.parse(match.stdout)
    expect(matches[0].text).toBe(CAPTION)
  })

  test(`it takes at most ${MOST_MB} MB`, async () => {
    const { stdout } = await run('du', ['-sm', join(installed[npm]!, 'node_modules')])
    expect(Number(stdout.split('\t')[0])).toBeLessThanOrEqual(MOST_MB)
  })
})

test('nothing else was asked for than the npm registry', async () => {
  expect(await readFile(refused, 'utf8')).toBe('')
})

test('the embedded artifact is in the cache, not in the package', async () => {
  const folder = join(installed.npm10!, 'node_modules/glimpse')
  expect((await readdir(join(folder, 'models'))).sort()).toEqual(['demo', 'evaluation', 'pico', 'pico-itm'])
  expect(await readdir(join(room, 'home/.cache/glimpse'))).toContainEqual(expect.stringMatching(/^pico-/))
})

test.each([
  [{ SLACK_BOT_TOKEN: 'xoxb-1', SLACK_APP_TOKEN: 'xapp-1' }, ['serve'], '"@slack/bolt@'],
  [{ DISCORD_TOKEN: 'a.b.c' }, ['serve'], '"discord.js@'],
  [{ GLIMPSE_MODEL: 's3://bucket/model' }, ['caption', 'picture.png'], '"@aws-sdk/client-s3@'],
  [{ GLIMPSE_SECRETS: '/glimpse' }, ['serve'], '"@aws-sdk/client-ssm@'],
  [{ GLIMPSE_ENGINE: 'sagemaker://endpoint?bucket=name' }, ['serve'], '"@aws-sdk/client-sagemaker-runtime@'],
  [{}, ['index', '.'], '@lancedb/lancedb@0.30.0 apache-arrow@18.1.0'],
])('%j: one line says what to install', async (env, args, packages) => {
  const { code, stderr } = await npx('npm10', ['glimpse', ...args], { ...env, GLIMPSE_PORT: '0' })
  expect(code).toBe(1)
  // `serve` logs that it listens before it opens the chats.
  const [line, ...others] = stderr
    .trim()
    .split('\n')

    .filter((text: string) => !/^\S+Z info /.test(text))
  expect(others).toEqual([])
  expect(line).toMatch(/^glimpse: .* needs .* not installed\. Install (it|them): npm install /)
  expect(line).toContain(packages)
})

test('doctor runs, and names a package that is missing', async () => {
  const { stdout } = await npx('npm10', ['glimpse', 'doctor'], {
    GLIMPSE_QUEUE: 'https://sqs.eu-central-1.amazonaws.com/1/q.fifo',
  })
  expect(stdout).toMatch(/fail .*npm install "@aws-sdk\/client-sqs@/)
  expect(stdout).toMatch(/ok +onnxruntime/)
})

const PROGRAM = `
import { open, RequestError, type Match } from 'glimpse'

const glimpse = await open()
const { text } = await glimpse.caption('picture.png')
const answer = await glimpse.ask('picture.png', 'what is on the right?')
const matches: Match[] = await glimpse.match('picture.png', [text, 'seven blue shoes'])
const { image_embeds_proj } = await glimpse.embed({ picture: 'picture.png', kinds: ['image_embeds_proj'] })
const refused = await glimpse.caption('nothere.png').catch((error: unknown) => error)
await glimpse.close()
console.log(JSON.stringify([text, answer.text, matches[0]?.text, image_embeds_proj?.shape, refused instanceof RequestError]))
`

test.each([
  { module: 'node16', moduleResolution: 'node16' },
  { module: 'esnext', moduleResolution: 'bundler' },
])('a program in TypeScript compiles with %j, all declarations checked, and runs', async (how) => {
  const folder = installed.npm11!
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  await writeFile(join(folder, 'program.ts'), PROGRAM)
  const compilerOptions = {
    ...how,
    target: 'es2023',
    strict: true,
    types: ['node'],
    typeRoots: [tool('@types')],
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))
  const compiled = await node(folder, [tool('typescript/bin/tsc'), '-p', folder])
  expect(compiled).toEqual({ code: 0, stdout: '', stderr: '' })
  const { stdout, stderr } = await node(folder, ['program.js'])
  expect(stderr).toBe('')
  const right = [CAPTION, 'a helicopter', CAPTION, [expect.any(Number), expect.any(Number)], true]
  expect(JSON.parse(stdout)).toEqual(right)
})

test('publint and attw find nothing', async () => {
  const lint = await node(room, [tool('publint/src/cli.js'), 'run', tarball, '--strict'])
  expect(lint.stdout).toContain('All good!')
  const types = await node(room, [
    tool('@arethetypeswrong/cli/dist/index.js'),
    tarball,
    '--profile',
    'esm-only',
  ])
  expect(types.code, types.stdout).toBe(0)
})

test('the packages of scripts/release.mjs install from a registry, with the binaries of this platform only', async () => {
  const release = join(room, 'release')
  const script = ['scripts/release.mjs', '--scope', '@owner', '--name', '@owner/seeing', '--out', release]
  await run(process.execPath, script, { cwd: ROOT })
  const registry = await registryOf(release)
  const folder = join(room, 'published')
  await mkdir(folder)
  await cp(join(ROOT, 'models/demo/crab-and-helicopter.png'), join(folder, 'picture.png'))
  await writeFile(join(folder, '.npmrc'), `@owner:registry=${registry.address}\n`)
  const install = await node(folder, [tool('npm10/bin/npm-cli.js'), 'install', '@owner/seeing'])
  expect(install.code, install.stderr).toBe(0)
  registry.close()
  const engines = (await readdir(join(folder, 'node_modules/@owner'))).filter((name) => name !== 'seeing')
  expect(engines).toEqual([`onnxruntime-${process.platform}-${process.arch}`])
  const caption = await node(folder, [tool('npm10/bin/npx-cli.js'), 'glimpse', 'caption', 'picture.png'])
  expect(caption).toEqual({ code: 0, stdout: `${CAPTION}\n`, stderr: '' })
}, 600_000)

/** A registry in this process that has the packages of a folder's tarballs. */
async function registryOf(folder: string) {
  const packages = new Map<string, { manifest: { version: string }; file: string }>()
  for (const file of await readdir(folder)) {
    const { stdout } = await run('tar', ['-xOzf', join(folder, file), 'package/package.json'])
    const manifest = JSON.parse(stdout)
    packages.set(manifest.name, { manifest, file })
  }
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(request.url!.slice(1))
    const found = packages.get(path)
    if (!found) return void response.end(await readFile(join(folder, path)))
    const { manifest, file } = found
    const { version } = manifest
    const dist = { tarball: `http://${request.headers.host}/${file}` }
    const versions = { [version]: { ...manifest, dist } }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ name: path, 'dist-tags': { latest: version }, versions }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { address: `http://127.0.0.1:${port}/`, close: () => server.close() }
}

test('without the binaries of optional packages, one line says how to install them', async () => {
  const binaries = join(installed.npm10!, 'node_modules/@img')
  for (const name of await readdir(binaries))
    if (name.startsWith('sharp-')) await rm(join(binaries, name), { recursive: true })
  const { code, stderr } = await npx('npm10', ['glimpse', 'caption', 'picture.png'])
  expect(code).toBe(1)
  expect(stderr).toMatch(/^glimpse: A native library does not load: .*npm install --include=optional.*\n$/)
})
