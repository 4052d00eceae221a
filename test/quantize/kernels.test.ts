// The committed WebAssembly was compiled from the committed source.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const FOLDER = join(import.meta.dirname, '../../src/quantize')

test('kernels.wasm was compiled from this kernels.as.ts; otherwise run `npm run kernels`', () => {
  const module = new WebAssembly.Module(readFileSync(join(FOLDER, 'kernels.wasm')))
  const [hash] = WebAssembly.Module.customSections(module, 'source')
  const source = createHash('sha256').update(readFileSync(join(FOLDER, 'kernels.as.ts')))
  expect(Buffer.from(hash!).toString('hex')).toBe(source.digest('hex'))
})
