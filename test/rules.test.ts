// The rules of the house that a tool can check.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const SOURCES = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path: join('src', path), text: readFileSync(join(ROOT, 'src', path), 'utf8') }))

/** What a file imports by name, for its effect alone, or when it needs it. */
function imports({ path, text }: { path: string; text: string }): { from: string; to: string }[] {
  return [...text.matchAll(/^(?:import|export) (?:[^'"]*?from )?'([^']+)'|\bimport\('([^']+)'\)/gms)]
    .map(([, named, called]) => (named ?? called)!)
    .map((to) => ({ from: path, to: to.startsWith('.') ? normalize(join(dirname(path), to)) : to }))
}
const IMPORTS = SOURCES.flatMap(imports)
const folderOf = (path: string) => path.split('/').slice(0, 2).join('/')

/** Libraries that belong to one stage; zod is how every edge checks what comes in, commander is the command line's. */
const HOMES = {
  sharp: 'src/image/decode.ts',
  'onnxruntime-node': 'src/run/session.ts',
  '@huggingface/tokenizers': 'src/tokens/tokenizer.ts',
  protobufjs: 'src/onnx/proto.ts',
  '@aws-sdk/client-ssm': 'src/app/secrets.ts',
  '@aws-sdk/client-sagemaker-runtime': 'src/remote/sagemaker.ts',
  '@aws-sdk/s3-request-presigner': 'src/store/bucket.ts',
  '@aws-sdk/lib-storage': 'src/store/bucket.ts',
  'proper-lockfile': 'src/transfer/download.ts',
  'rate-limiter-flexible': 'src/chat/rate-limit.ts',
  '@hono/node-server': 'src/serve/server.ts',
  '@fastify/busboy': 'src/serve/form.ts',
  pino: 'src/observe/log.ts',
  'prom-client': 'src/observe/metrics.ts',
}
test.each(Object.entries(HOMES))('%s is imported only in %s', (library, home) => {
  const users = IMPORTS.filter(({ to }) => to === library || to.startsWith(`${library}/`)).map(
    ({ from }) => from,
  )
  expect([...new Set(users)]).toEqual([home])
})

/** Libraries of the edges: how what comes in is checked, what the command line and HTTP are written in. */
const SHARED = ['zod', 'commander', 'cli-progress', 'hono', 'pure-rand', 'lru-cache', 'aws-lambda']
test('every other library is one of the few that edges share', () => {
  const bare = IMPORTS.map(({ to }) => to).filter((to) => !to.startsWith('src/') && !to.startsWith('node:'))
  const libraries = [
    '@slack/bolt',
    'discord.js',
    '@opentelemetry/api',
    '@aws-sdk/client-s3',
    '@aws-sdk/client-sqs',
  ]
  const known = [...Object.keys(HOMES), ...SHARED, ...libraries]
  expect(bare.filter((to) => !known.some((name) => to === name || to.startsWith(`${name}/`)))).toEqual([])
})

test.each([
  ['@slack/bolt', 'src/slack'],
  ['discord.js', 'src/discord'],
  ['@opentelemetry/api', 'src/observe'],
])('%s is imported only in %s', (library, home) => {
  const users = IMPORTS.filter(({ to }) => to === library).map(({ from }) => folderOf(from))
  expect([...new Set(users)]).toEqual([home])
})

test.each([
  // What S3 is asked, and what it answers.
  ['@aws-sdk/client-s3', ['src/store/answers.ts', 'src/store/bucket.ts']],
  // The queue; what a function gives back to it; whether it answers.
  ['@aws-sdk/client-sqs', ['src/aws/visibility.ts', 'src/doctor/cloud.ts', 'src/queue/sqs.ts']],
])('%s is imported only in %s', (library, homes) => {
  const users = IMPORTS.filter(({ to }) => to === library).map(({ from }) => from)
  expect([...new Set(users)].sort()).toEqual(homes)
})

/** Folders of chat platforms. */
const PLATFORMS = IMPORTS.filter(({ from }) => from === 'src/platforms.ts').map(
  ({ to }) => /^src\/(\w+)\/adapter\.ts$/.exec(to)![1]!,
)

test('a chat platform is one folder and one row: only src/platforms.ts imports it', () => {
  expect(PLATFORMS.length).toBeGreaterThan(1)
  const isPlatform = (path: string) => PLATFORMS.some((name) => path.startsWith(`src/${name}/`))
  const users = IMPORTS.filter(({ from, to }) => isPlatform(to) && !isPlatform(from))
  expect(users.map(({ from, to }) => `${from} ${to}`).sort()).toEqual(
    PLATFORMS.map((name) => `src/platforms.ts src/${name}/adapter.ts`).sort(),
  )
})

test('platforms do not know each other', () => {
  const crossings = IMPORTS.filter(({ from, to }) =>
    PLATFORMS.some(
      (name) =>
        from.startsWith(`src/${name}/`) &&
        PLATFORMS.some((other) => other !== name && to.startsWith(`src/${other}/`)),
    ),
  )
  expect(crossings).toEqual([])
})

test('only the folders above serve/ compose: serve/ imports no chat platform, queue or function', () => {
  const above = IMPORTS.filter(
    ({ from, to }) => folderOf(from) === 'src/serve' && /^src\/(app|aws|cli|queue|slack|discord)\//.test(to),
  )
  expect(above).toEqual([])
})

// Native code reads this one in the environment and nowhere else, at its first session: its home sets it there.
const TELEMETRY_OFF = "process.env.ORT_DISABLE_TELEMETRY = '1'"

test('the environment is read only in config.ts', () => {
  const readers = SOURCES.filter(({ text }) => text.replace(TELEMETRY_OFF, '').includes('process.env'))
  expect(readers.map(({ path }) => path)).toEqual(['src/config.ts'])
})

test('what loads onnxruntime switches its telemetry off itself, in tests and benchmarks too', () => {
  const loaders = ['src', 'test', 'bench', 'scripts', 'handlers', 'layers']
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((path) =>
        join(ROOT, folder, path),
      ),
    )
    .filter((path) => /\.m?[tj]s$/.test(path))
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }))
    .filter(({ text }) =>
      /(import (?!type)[^'";]*from |(?<!typeof )import\(|require\()'onnxruntime-node'/.test(text),
    )
  expect(loaders.length).toBeGreaterThan(0)
  expect(
    loaders.filter(({ text }) => !text.includes('ORT_DISABLE_TELEMETRY')).map(({ path }) => path),
  ).toEqual([])
  // One place in it starts sessions, and that is where it happens.
  const home = SOURCES.find(({ path }) => path === HOMES['onnxruntime-node'])
  expect(home?.text).toContain(`${TELEMETRY_OFF}\n`)
  expect(home?.text.split('InferenceSession.create(')).toHaveLength(2)
})

test('no call joins signals in a way that leaves something with those that outlive it', () => {
  expect(SOURCES.filter(({ text }) => text.includes('AbortSignal.any(')).map(({ path }) => path)).toEqual([])
})

test('building and running graphs meet only in the contract', () => {
  const crossings = IMPORTS.filter(
    ({ from, to }) =>
      (folderOf(from) === 'src/model' && folderOf(to) === 'src/run') ||
      (folderOf(from) === 'src/run' && folderOf(to) === 'src/model'),
  )
  expect(crossings).toEqual([])
})

test('onnx knows no BLIP-2', () => {
  const outside = IMPORTS.filter(
    ({ from, to }) => folderOf(from) === 'src/onnx' && to.startsWith('src/') && folderOf(to) !== 'src/onnx',
  )
  expect(outside).toEqual([])
})

test('folders depend on each other in one direction', () => {
  const below = new Map<string, Set<string>>()
  for (const { from, to } of IMPORTS) {
    const [a, b] = [folderOf(from), folderOf(to)]
    if (a !== b && to.startsWith('src/')) below.set(a, (below.get(a) ?? new Set()).add(b))
  }
  const circles: string[] = []
  const visit = (folder: string, path: string[]) => {
    if (path.includes(folder)) {
      circles.push([...path.slice(path.indexOf(folder)), folder].join(' -> '))
      return
    }
    for (const next of below.get(folder) ?? []) visit(next, [...path, folder])
  }
  for (const folder of below.keys()) visit(folder, [])
  expect([...new Set(circles)]).toEqual([])
})

test('only index.ts re-exports', () => {
  const others = SOURCES.filter(({ path }) => path !== 'src/index.ts')
    .filter(({ text }) => /^export (type )?(\{[^}]*\}|\*) from/m.test(text))
    .map(({ path }) => path)
  expect(others).toEqual([])
})

test('every file says at its top what it is', () => {
  const silent = SOURCES.filter(({ text }) => !/^(#!.*\n)?(\/\/|\/\*\*)/.test(text)).map(({ path }) => path)
  expect(silent).toEqual([])
})

test('no file is longer than 350 lines', () => {
  const long = SOURCES.filter(({ text }) => text.split('\n').length > 350).map(({ path }) =>
    relative('src', path),
  )
  expect(long).toEqual([])
})

test('the lock names every package that a package in it asks for, on every platform', () => {
  type Entry = Record<'dependencies' | 'optionalDependencies', Record<string, string> | undefined>
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Entry>
  }
  // As Node looks for it: beside the package, then beside each that it lies in.
  const isThere = (path: string, name: string): boolean => {
    if (packages[`${path === '' ? '' : `${path}/`}node_modules/${name}`]) return true
    const end = path.lastIndexOf('node_modules/')
    return end >= 0 && isThere(path.slice(0, end).replace(/\/$/, ''), name)
  }
  const missing = Object.entries(packages).flatMap(([path, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }).filter(
      (name) => !isThere(path, name),
    ),
  )
  expect(missing).toEqual([])
})
