// src/quantize/kernels.as.ts -> src/quantize/kernels.wasm, which is committed. Run this script after changing the source.
//
// npx downloads the compiler (101 MB), which no other part needs. Two runs give the same bytes. The section `source` of the
// result has the hash of the source; test/quantize/kernels.test.ts compares it.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const COMPILER = 'assemblyscript@0.28.20'
const FOLDER = fileURLToPath(new URL('../src/quantize/', import.meta.url))
const SOURCE = join(FOLDER, 'kernels.as.ts')
const NAME = 'source'
/** WebAssembly's id of a custom section (specification 5.5.3). */
const CUSTOM_SECTION = 0

const folder = mkdtempSync(join(tmpdir(), 'glimpse-kernels-'))
try {
  const out = join(folder, 'kernels.wasm')
  const options = ['--enable', 'simd', '-O3', '--runtime', 'stub', '--outFile', out]
  const args = ['--yes', '--package', COMPILER, 'asc', SOURCE, ...options]
  const { status } = spawnSync('npx', args, { stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
  const hash = createHash('sha256').update(readFileSync(SOURCE)).digest()
  // Both lengths are below 128, so that each is one byte of LEB128.
  const content = Buffer.concat([Buffer.from([NAME.length]), Buffer.from(NAME), hash])
  const section = Buffer.concat([Buffer.from([CUSTOM_SECTION, content.length]), content])
  writeFileSync(join(FOLDER, 'kernels.wasm'), Buffer.concat([readFileSync(out), section]))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
