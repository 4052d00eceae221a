// handlers/*.ts and the model process -> dist/lambda/*.js, one file each, so that a cold start reads one file instead of
// thousands.
//
// onnxruntime-node and sharp are external, in the layers. Lambda finds them through NODE_PATH, which `require` uses and
// `import` does not, so their imports become `require`.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUT = join(ROOT, 'dist/lambda')
const HANDLERS = ['http', 'slack', 'discord', 'answer', 'notice', 'brake']
/** Entry points that the engine starts; it looks for them beside its own file. */
export const BESIDE = ['model-process', 'parent-watchdog']

/** Packages in the layers of layers/build.mjs. */
const IN_LAYERS = /^(onnxruntime-node|sharp)$/
/** Optional dependencies: of ws and discord.js, which are not installed, and of search, which is too large for a function. */
const OPTIONAL = [
  '@lancedb/lancedb',
  'apache-arrow',
  'bufferutil',
  'utf-8-validate',
  'zlib-sync',
  'erlpack',
  'ffmpeg-static',
]

/** Globals that bundled CommonJS modules need. */
const FOR_COMMON_JS = [
  `import { createRequire as __createRequire } from 'node:module'`,
  `import { fileURLToPath as __toPath } from 'node:url'`,
  `const require = __createRequire(import.meta.url)`,
  `const __filename = __toPath(import.meta.url)`,
  `const __dirname = __toPath(new URL('.', import.meta.url))`,
].join(';')

const requireFromLayers = {
  name: 'require from layers',
  setup(esbuild) {
    esbuild.onResolve({ filter: IN_LAYERS }, ({ path, namespace }) =>
      namespace === 'layer' ? { path, external: true } : { path, namespace: 'layer' },
    )
    esbuild.onLoad({ filter: /.*/, namespace: 'layer' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)})`,
    }))
  },
}

/** The parts of discord.js without its client: no function keeps a connection open, and the client takes a second to load. */
const PARTS_OF_DISCORD = `
export { DiscordAPIError, RateLimitError, REST } from '@discordjs/rest'
export * from '@discordjs/formatters'
export * from 'discord-api-types/v10'
`
const discordWithoutGateway = {
  name: 'discord.js without its gateway',
  setup(esbuild) {
    esbuild.onResolve({ filter: /^discord\.js$/ }, ({ path }) => ({ path, namespace: 'parts' }))
    esbuild.onLoad({ filter: /.*/, namespace: 'parts' }, () => ({
      contents: PARTS_OF_DISCORD,
      resolveDir: ROOT,
    }))
    esbuild.onLoad({ filter: /src\/discord\/connection\.ts$/ }, () => ({
      contents: `throw new Error('A function opens no connection to the gateway.')`,
    }))
  },
}

/** Folders of chat platforms: the rows of src/platforms.ts. */
const PLATFORMS = [
  ...readFileSync(join(ROOT, 'src/platforms.ts'), 'utf8').matchAll(/from '\.\/(\w+)\/adapter\.ts'/g),
].map(([, folder]) => folder)

/** Leaves out what a function never calls: doctor's checks, and for all but `names` the platform itself. */
function withPlatforms(names) {
  return {
    name: 'platforms of one function',
    setup(esbuild) {
      esbuild.onLoad({ filter: /src\/\w+\/(open|check|manifest)\.ts$/ }, ({ path }) => {
        const folder = basename(dirname(path))
        if (!PLATFORMS.includes(folder) || (names.includes(folder) && path.endsWith('open.ts')))
          return undefined
        return { contents: `throw new Error('This function does not use ${folder}.')` }
      })
    },
  }
}

/** A function of a platform has that one, the one that answers has all. */
function platformsOf(handler) {
  return handler === 'answer' ? PLATFORMS : PLATFORMS.filter((name) => name === handler)
}

/** Writes the changed files, each atomically, because another process may be packaging. @returns the bytes of all files */
export async function bundle() {
  const entries = [
    ...HANDLERS.map((name) => ({ name, from: `handlers/${name}.ts`, platforms: platformsOf(name) })),
    ...BESIDE.map((name) => ({ name, from: `src/engine/${name}.ts`, platforms: [] })),
  ]
  const builds = await Promise.all(
    entries.map(({ name, from, platforms }) =>
      build({
        absWorkingDir: ROOT,
        entryPoints: { [name]: from },
        outdir: OUT,
        bundle: true,
        write: false,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        minify: true,
        // Keeps function names in stack traces, and class names, which are the names of errors.
        keepNames: true,
        legalComments: 'none',
        external: OPTIONAL,
        plugins: [requireFromLayers, discordWithoutGateway, withPlatforms(platforms)],
        banner: { js: FOR_COMMON_JS },
        logLevel: 'warning',
      }),
    ),
  )
  const outputFiles = builds.flatMap((each) => each.outputFiles)
  for (const { path, contents } of outputFiles) write(path, contents)
  // src/versions.ts reads the version; `type` makes Lambda load .js files as ES modules.
  const { version, type } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  write(join(OUT, '../package.json'), Buffer.from(`${JSON.stringify({ version, type })}\n`))
  return outputFiles.reduce((sum, { contents }) => sum + contents.length, 0)
}

function write(path, contents) {
  if (existsSync(path) && readFileSync(path).equals(contents)) return
  mkdirSync(dirname(path), { recursive: true })
  const partial = `${path}.${process.pid}`
  writeFileSync(partial, contents)
  renameSync(partial, path)
}
