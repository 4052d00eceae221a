// Rules of the code base, checked on the text of src/: one home for each library, directions of imports, sizes, heads.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const SOURCES = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path: join('src', path), text: readFileSync(join(ROOT, 'src', path), 'utf8') }))

/** Imports and re-exports of a file, static and dynamic; relative paths as paths from the repository's root. */
function imports({ path, text }: { path: string; text: string }): { from: string; to: string }[] {
  return [...text.matchAll(/^(?:import|export) (?:[^'"]*?from )?'([^']+)'|\bimport\('([^']+)'\)/gms)]
    .map(([, named, called]) => (named ?? called)!)
    .map((to) => ({ from: path, to: to.startsWith('.') ? normalize(join(dirname(path), to)) : to }))
}
const IMPORTS = SOURCES.flatMap(imports)
const folderOf = (path: string) => path.split('/').slice(0, 2).join('/')

/** Libraries that one file imports, and that file. */
const HOMES = {
  sharp: 'src/image/decode.ts',
  'onnxruntime-node': 'src/run/session.ts',
  '@huggingface/tokenizers': 'src/tokens/tokenizer.ts',
  protobufjs: 'src/onnx/proto.ts',
  '@aws-sdk/client-ssm': 'src/app/secrets.ts',
  '@aws-sdk/client-ecr': 'src/doctor/account.ts',
  '@aws-sdk/client-service-quotas': 'src/doctor/account.ts',
  yaml: 'src/cli/deploy-check.ts',
  '@aws-sdk/client-sagemaker-runtime': 'src/remote/sagemaker.ts',
  '@aws-sdk/client-application-auto-scaling': 'src/aws/brake.ts',
  '@aws-sdk/credential-provider-node': 'src/remote/signed.ts',
  '@smithy/signature-v4': 'src/remote/signed.ts',
  '@aws-sdk/s3-request-presigner': 'src/store/bucket.ts',
  '@aws-sdk/lib-storage': 'src/store/bucket.ts',
  'proper-lockfile': 'src/transfer/download.ts',
  '@discordjs/ws': 'src/discord/connection.ts',
  '@hono/node-server': 'src/serve/server.ts',
  '@fastify/busboy': 'src/serve/form.ts',
  '@lancedb/lancedb': 'src/search/lance.ts',
  'apache-arrow': 'src/search/lance-rows.ts',
  picomatch: 'src/search/walk.ts',
  '@xmldom/xmldom': 'src/xmp/packet.ts',
  pino: 'src/observe/log.ts',
  'prom-client': 'src/observe/metrics.ts',
}
test.each(Object.entries(HOMES))('%s is imported only in %s', (library, home) => {
  const users = IMPORTS.filter(({ to }) => to === library || to.startsWith(`${library}/`)).map(
    ({ from }) => from,
  )
  expect([...new Set(users)]).toEqual([home])
})

/** Libraries that any file may import. */
const SHARED = [
  'zod',
  'commander',
  'cli-progress',
  'hono',
  'papaparse',
  'pure-rand',
  'lru-cache',
  'aws-lambda',
]
test('every library has a home or is in the list of shared libraries', () => {
  const imported = IMPORTS.map(({ to }) => to).filter(
    (to) => !to.startsWith('src/') && !to.startsWith('node:'),
  )
  const libraries = [
    '@slack/bolt',
    'discord.js',
    '@opentelemetry/api',
    '@aws-sdk/client-lambda',
    '@aws-sdk/client-s3',
    '@aws-sdk/client-sqs',
  ]
  const known = [...Object.keys(HOMES), ...SHARED, ...libraries]
  expect(imported.filter((to) => !known.some((name) => to === name || to.startsWith(`${name}/`)))).toEqual([])
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
  // Requests to S3, and the mapping of its errors.
  ['@aws-sdk/client-s3', ['src/store/answers.ts', 'src/store/bucket.ts']],
  // Visibility of failed messages, and the queue.
  ['@aws-sdk/client-sqs', ['src/aws/visibility.ts', 'src/queue/sqs.ts']],
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

test('platforms do not import each other', () => {
  const crossings = IMPORTS.filter(({ from, to }) =>
    PLATFORMS.some(
      (name) =>
        from.startsWith(`src/${name}/`) &&
        PLATFORMS.some((other) => other !== name && to.startsWith(`src/${other}/`)),
    ),
  )
  expect(crossings).toEqual([])
})

test('serve/ imports no chat platform, queue or function', () => {
  const above = IMPORTS.filter(
    ({ from, to }) => folderOf(from) === 'src/serve' && /^src\/(app|aws|cli|queue|slack|discord)\//.test(to),
  )
  expect(above).toEqual([])
})

// onnxruntime's native code reads this variable when the first session opens. It has no other switch. Its home file sets it.
const TELEMETRY_OFF = "process.env.ORT_DISABLE_TELEMETRY = '1'"

test('the environment is read only in config.ts', () => {
  const readers = SOURCES.filter(({ text }) => text.replace(TELEMETRY_OFF, '').includes('process.env'))
  expect(readers.map(({ path }) => path)).toEqual(['src/config.ts'])
})

test('every file that loads onnxruntime switches its telemetry off, in tests and benchmarks too', () => {
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
  // The home file sets the variable and creates sessions in one place.
  const home = SOURCES.find(({ path }) => path === HOMES['onnxruntime-node'])
  expect(home?.text).toContain(`${TELEMETRY_OFF}\n`)
  expect(home?.text.split('InferenceSession.create(')).toHaveLength(2)
})

test('no file uses AbortSignal.any, which keeps listeners on signals that outlive the call', () => {
  expect(SOURCES.filter(({ text }) => text.includes('AbortSignal.any(')).map(({ path }) => path)).toEqual([])
})

test('model/ and run/ do not import each other', () => {
  const crossings = IMPORTS.filter(
    ({ from, to }) =>
      (folderOf(from) === 'src/model' && folderOf(to) === 'src/run') ||
      (folderOf(from) === 'src/run' && folderOf(to) === 'src/model'),
  )
  expect(crossings).toEqual([])
})

test('onnx/ imports no other folder of src', () => {
  const outside = IMPORTS.filter(
    ({ from, to }) => folderOf(from) === 'src/onnx' && to.startsWith('src/') && folderOf(to) !== 'src/onnx',
  )
  expect(outside).toEqual([])
})

test.each([
  ['folders', folderOf],
  ['files', (path: string) => path],
])('%s import each other in one direction', (_, nameOf) => {
  const dependencies = new Map<string, Set<string>>()
  for (const { from, to } of IMPORTS) {
    const [a, b] = [nameOf(from), nameOf(to)]
    if (a !== b && to.startsWith('src/')) dependencies.set(a, (dependencies.get(a) ?? new Set()).add(b))
  }
  const cycles: string[] = []
  const done = new Set<string>()
  const visit = (name: string, path: string[]) => {
    if (path.includes(name)) cycles.push([...path.slice(path.indexOf(name)), name].join(' -> '))
    if (path.includes(name) || done.has(name)) return
    for (const next of dependencies.get(name) ?? []) visit(next, [...path, name])
    done.add(name)
  }
  for (const name of dependencies.keys()) visit(name, [])
  expect(cycles).toEqual([])
})

test('only index.ts re-exports', () => {
  const others = SOURCES.filter(({ path }) => path !== 'src/index.ts')
    .filter(({ text }) => /^export (type )?(\{[^}]*\}|\*) from/m.test(text))
    .map(({ path }) => path)
  expect(others).toEqual([])
})

test('every file starts with a comment', () => {
  const without = SOURCES.filter(({ text }) => !/^(#!.*\n)?(\/\/|\/\*\*)/.test(text)).map(({ path }) => path)
  expect(without).toEqual([])
})

test('no file is longer than 350 lines', () => {
  const long = SOURCES.filter(({ text }) => text.split('\n').length > 350).map(({ path }) =>
    relative('src', path),
  )
  expect(long).toEqual([])
})

test('package-lock.json has every dependency of its packages, on every platform', () => {
  type Entry = Record<'dependencies' | 'optionalDependencies', Record<string, string> | undefined>
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Entry>
  }
  // Node's resolution: node_modules of the package, then of each folder above it.
  const isLocked = (path: string, name: string): boolean => {
    if (packages[`${path === '' ? '' : `${path}/`}node_modules/${name}`]) return true
    const end = path.lastIndexOf('node_modules/')
    return end >= 0 && isLocked(path.slice(0, end).replace(/\/$/, ''), name)
  }
  const missing = Object.entries(packages).flatMap(([path, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }).filter(
      (name) => !isLocked(path, name),
    ),
  )
  expect(missing).toEqual([])
})
