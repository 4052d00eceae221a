// handlers/*.ts and the model's process -> dist/lambda/*.js, one file each: a cold start reads one file, not thousands.
//
// onnxruntime-node and sharp stay outside, in the layers. Lambda finds them there by NODE_PATH, which `import` does not
// know and `require` does: so they are required.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUT = join(ROOT, 'dist/lambda')
const HANDLERS = ['http', 'slack', 'discord', 'answer']
/** What the engine starts: it looks for these beside the file that it is in itself. */
export const BESIDE = ['model-process', 'parent-watchdog']

/** In layers/build.mjs. */
const IN_LAYERS = /^(onnxruntime-node|sharp)$/
/** Asked for by ws and discord.js if they are there, which they are not. */
const OPTIONAL = ['bufferutil', 'utf-8-validate', 'zlib-sync', 'erlpack', 'ffmpeg-static']

/** What CommonJS inside takes for granted. */
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
  },
}

/** Writes what has changed, each file whole: somebody may be packaging at the same time. @returns the bytes of all files */
export async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: {
      ...Object.fromEntries(HANDLERS.map((name) => [name, `handlers/${name}.ts`])),
      ...Object.fromEntries(BESIDE.map((name) => [name, `src/engine/${name}.ts`])),
    },
    outdir: OUT,
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minify: true,
    // A stack in the log says which function; names of errors are names of classes.
    keepNames: true,
    legalComments: 'none',
    external: OPTIONAL,
    plugins: [requireFromLayers, discordWithoutGateway],
    banner: { js: FOR_COMMON_JS },
    logLevel: 'warning',
  })
  for (const { path, contents } of outputFiles) write(path, contents)
  // Where src/versions.ts looks, and what makes Lambda read .js files as modules.
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
