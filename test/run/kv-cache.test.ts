// Where the KV cache stores keys and values, and what it keeps when rows are reordered and slots added.

import { expect, test } from 'vitest'
import { LANGUAGE, type Manifest } from '../../src/artifact/contract.ts'
import { KVCache } from '../../src/run/kv-cache.ts'

const HEADS = 2
const SIZE = 3
const WIDTH = HEADS * SIZE
const sizes = { layers: 1, heads: HEADS, width: WIDTH } as Manifest['sizes']

/** Keys and values of position p in row r are 100 r + 10 p + their index in the width. */
function added(rows: readonly number[], from: number, length: number) {
  const data = Float32Array.from(
    rows.flatMap((row) =>
      Array.from(
        { length: length * WIDTH },
        (_, i) => 100 * row + 10 * (from + Math.floor(i / WIDTH)) + (i % WIDTH),
      ),
    ),
  )
  const floats = { data, dims: [rows.length, length, WIDTH] }
  return { [LANGUAGE.newKey(0)]: floats, [LANGUAGE.newValue(0)]: floats }
}

const masksOf = (rows: number, length: number) =>
  Array.from({ length: rows }, () => new Array<number>(length).fill(1))

/** The filled slots of a row and head. */
function kept(cache: KVCache, row: number, head: number, filled: number): number[] {
  const { data, dims } = cache.feeds()[LANGUAGE.pastKey(0)]!
  const slots = dims[2]!
  const start = (row * HEADS + head) * slots * SIZE
  return [...data.subarray(start, start + filled * SIZE)]
}

function expected(row: number, head: number, filled: number): number[] {
  return Array.from(
    { length: filled * SIZE },
    (_, i) => 100 * row + 10 * Math.floor(i / SIZE) + head * SIZE + (i % SIZE),
  )
}

test('each position is at its row and head after many steps', () => {
  const cache = new KVCache(sizes, 2)
  expect(cache.feeds()[LANGUAGE.pastKey(0)]!.dims).toEqual([2, HEADS, 0, SIZE])
  cache.append(added([0, 1], 0, 5), masksOf(2, 5))
  for (let position = 5; position < 40; position++) cache.append(added([0, 1], position, 1), masksOf(2, 1))
  for (const row of [0, 1]) {
    for (const head of [0, 1]) expect(kept(cache, row, head, 40)).toEqual(expected(row, head, 40))
  }
  expect(cache.feeds()[LANGUAGE.pastKey(0)]!.dims[2]).toBeLessThan(40 + 16)
})

test('rows are copied, dropped and reordered', () => {
  const cache = new KVCache(sizes, 3)
  cache.append(added([0, 1, 2], 0, 4), masksOf(3, 4))
  const copied = KVCache.pick([2, 2, 0, 1].map((row) => ({ cache, row })))
  expect(copied.feeds()[LANGUAGE.pastValue(0)]!.dims[0]).toBe(4)
  for (const [row, source] of [2, 2, 0, 1].entries())
    expect(kept(copied, row, 1, 4)).toEqual(expected(source, 1, 4))
  const one = KVCache.pick([{ cache: copied, row: 1 }])
  one.append(added([2], 4, 1), masksOf(1, 1))
  expect(kept(one, 0, 0, 5)).toEqual(expected(2, 0, 5))
})
