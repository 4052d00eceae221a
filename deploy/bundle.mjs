// handlers/*.ts and the model's thread -> dist/lambda/*.js, one file each: a cold start reads one file, not thousands.
//
// onnxruntime-node and sharp stay outside, in the layers. Lambda finds them there by NODE_PATH, which `import` does not
// know and `require` does: so they are required.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
export const OUT = join(ROOT, 'dist/lambda')

/** In layers/build.mjs. */
const IN_LAYERS = /^(onnxruntime-node|sharp)$/
/** Asked for by ws and discord.js if they are there, which they are not. */
const OPTIONAL = ['bufferutil', 'utf-8-validate', 'zlib-sync', 'erlpack', 'ffmpeg-static']

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

/** @returns the bytes of all files together */
export async function bundle() {
  rmSync(OUT, { recursive: true, force: true })
  mkdirSync(OUT, { recursive: true })
  const handlers = ['http', 'slack', 'discord', 'answer']
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: {
      ...Object.fromEntries(handlers.map((name) => [name, `handlers/${name}.ts`])),
      // Beside the handlers, where src/job/engine.ts looks for it.
      thread: 'src/job/thread.ts',
    },
    outdir: OUT,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    // A stack in the log says which function; names of errors are names of classes.
    keepNames: true,
    minify: true,
    legalComments: 'none',
    external: OPTIONAL,
    plugins: [requireFromLayers],
    // What is CommonJS inside asks for these.
    banner: {
      js: `import { createRequire as __createRequire } from 'node:module'; import { fileURLToPath as __toPath } from 'node:url'; const require = __createRequire(import.meta.url); const __filename = __toPath(import.meta.url); const __dirname = __toPath(new URL('.', import.meta.url));`,
    },
    metafile: true,
    logLevel: 'warning',
  })
  writeFileSync(join(OUT, 'package.json'), '{"type":"module"}\n')
  return Object.values(metafile.outputs).reduce((sum, { bytes }) => sum + bytes, 0)
}
