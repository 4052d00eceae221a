// Import time of each Lambda handler, bundled into one file and as separate modules of dist/ and node_modules.
// node bench/cold-start.mjs [rounds]   (after npm run compile and npm run layers)
//
// The page cache is warm on this machine. On Lambda it is cold, so the difference is larger.

import { execFileSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROUNDS = Number(process.argv[2] ?? 7)
const root = new URL('..', import.meta.url)
const time = `const began = performance.now(); await import(process.argv[1]); console.log(performance.now() - began); process.exit()`

function medianOf(path) {
  const url = new URL(path, root).href
  const runs = Array.from({ length: ROUNDS }, () =>
    Number(execFileSync(process.execPath, ['--input-type=module', '-e', time, url], { encoding: 'utf8' })),
  )
  return runs.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]
}

/** What each handler imports. */
const MODULES = { http: 'http', slack: 'webhook', discord: 'webhook', answer: 'answer' }
for (const [name, module] of Object.entries(MODULES)) {
  const bundled = `dist/lambda/${name}.js`
  if (!existsSync(fileURLToPath(new URL(bundled, root))))
    throw new Error('dist/lambda is missing. Run: npm run layers')
  const kib = (statSync(new URL(bundled, root)).size / 1024).toFixed(0)
  const [one, many] = [medianOf(bundled), medianOf(`dist/aws/${module}.js`)]
  console.log(
    `${name.padEnd(8)} bundled ${kib.padStart(5)} KiB ${one.toFixed(0).padStart(4)} ms, as modules ${many.toFixed(0).padStart(4)} ms`,
  )
}
