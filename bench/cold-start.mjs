// What a function reads before it can answer: bundled into one file, against the modules of dist/ and node_modules as they
// are. node bench/cold-start.mjs [rounds]   (after npm run compile and npm run layers)
//
// On a disk whose files are in memory; Lambda's are not, so there the difference of thousands of files is larger.

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

for (const name of ['http', 'slack', 'discord', 'answer']) {
  const bundled = `dist/lambda/${name}.js`
  if (!existsSync(fileURLToPath(new URL(bundled, root))))
    throw new Error('Expected dist/lambda; run: npm run layers')
  const kib = (statSync(new URL(bundled, root)).size / 1024).toFixed(0)
  const [one, many] = [medianOf(bundled), medianOf(`dist/aws/${name}.js`)]
  console.log(
    `${name.padEnd(8)} bundled ${kib.padStart(5)} KiB ${one.toFixed(0).padStart(4)} ms, as modules ${many.toFixed(0).padStart(4)} ms`,
  )
}
