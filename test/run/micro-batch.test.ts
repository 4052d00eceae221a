// A graph whose rows depend on each other takes one image in a run; otherwise the size of an item decides.

import { expect, test } from 'vitest'
import type { Manifest } from '../../src/artifact/contract.ts'
import { imagesPerRun, itemsPerRun } from '../../src/run/micro-batch.ts'
import { manifestOf } from '../transfer/model.ts'

const small = manifestOf(new Map(), 'small')
const withDependentRows = (graph: string): Manifest => ({
  ...small,
  graphs: small.graphs.map((one) => ({ ...one, rows_depend: one.name === graph })),
})

test.each([
  ['vision', 1],
  ['queries', 1],
  ['language', 8],
  ['none', 8],
])('rows depend on each other in %s: %i images in one run', (graph, count) => {
  expect(imagesPerRun(withDependentRows(graph))).toBe(count)
})

test('items in one run are bounded by their values and by their number', () => {
  expect([1, 32_768, 32_769, 131_072, 131_073, 1e9].map((values) => itemsPerRun(values))).toEqual([
    8, 8, 7, 2, 1, 1,
  ])
})
