// The size of an item decides how many go through a graph in one run.

import { expect, test } from 'vitest'
import { itemsPerRun } from '../../src/run/micro-batch.ts'

test('items in one run are bounded by their values and by their number', () => {
  expect([1, 32_768, 32_769, 131_072, 131_073, 1e9].map((values) => itemsPerRun(values))).toEqual([
    8, 8, 7, 2, 1, 1,
  ])
})
