// The storage format of the vision weights decides how many images go through one run.

import { expect, test } from 'vitest'
import type { Manifest } from '../../src/artifact/contract.ts'
import type { Format } from '../../src/quantize/recipes.ts'
import { imagesPerRun } from '../../src/run/micro-batch.ts'
import { manifestOf } from '../transfer/model.ts'

const stored = (format: Format): Manifest => ({
  ...manifestOf(new Map(), 'small'),
  recipe: [{ weights: '^vision_model', format, reason: 'a test' }],
})

test.each<[Format, number]>([
  [{ kind: 'columns' }, 1],
  [{ kind: 'blocks', bits: 8, block: 128 }, 8],
  [{ kind: 'blocks', bits: 4, block: 32 }, 8],
  [{ kind: 'float32' }, 8],
])('%j: %i images in one run', (format, count) => {
  expect(imagesPerRun({ manifest: stored(format) })).toBe(count)
})
