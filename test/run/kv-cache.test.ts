// Where the KV cache stores keys and values, and what it keeps when rows are reordered and slots added.

import { expect, test } from 'vitest'
import { LANGUAGE } from '../../src/artifact/contract.ts'
import { type CacheSizes, KVCache } from '../../src/run/kv-cache.ts'
import { Tensor } from '../../src/run/tensor.ts'

const HEADS = 2
const SIZE = 3
const WIDTH = HEADS * SIZE
const sizes: CacheSizes = { layers: 1, heads: HEADS, head_size: SIZE }

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
  const floats = Tensor.float32(data, [rows.length, length, WIDTH])
  return { [LANGUAGE.newKey(0)]: floats, [LANGUAGE.newValue(0)]: floats }
}

const masksOf = (rows: number, length: number) =>
  Array.from({ length: rows }, () => new Array<number>(length).fill(1))

/** The filled slots of a row and head. */
async function kept(cache: KVCache, row: number, head: number, filled: number): Promise<number[]> {
  const tensor = cache.feeds()[LANGUAGE.pastKey(0)]!
  const data = await tensor.floats()
  const slots = tensor.dims[2]!
  const start = (row * HEADS + head) * slots * SIZE
  return [...data.subarray(start, start + filled * SIZE)]
}

function expected(row: number, head: number, filled: number): number[] {
  return Array.from(
    { length: filled * SIZE },
    (_, i) => 100 * row + 10 * Math.floor(i / SIZE) + head * SIZE + (i % SIZE),
  )
}

test('each position is at its row and head after many steps', async () => {
  const cache = new KVCache(sizes, 2)
  expect(cache.feeds()[LANGUAGE.pastKey(0)]!.dims).toEqual([2, HEADS, 0, SIZE])
  await cache.append(added([0, 1], 0, 5), masksOf(2, 5))
  for (let position = 5; position < 40; position++)
    await cache.append(added([0, 1], position, 1), masksOf(2, 1))
  for (const row of [0, 1]) {
    for (const head of [0, 1]) expect(await kept(cache, row, head, 40)).toEqual(expected(row, head, 40))
  }
  expect(cache.feeds()[LANGUAGE.pastKey(0)]!.dims[2]).toBeLessThan(40 + 16)
})

test('rows are copied, dropped and reordered', async () => {
  const cache = new KVCache(sizes, 3)
  await cache.append(added([0, 1, 2], 0, 4), masksOf(3, 4))
  const copied = KVCache.pick([2, 2, 0, 1].map((row) => ({ cache, row })))
  expect(copied.feeds()[LANGUAGE.pastValue(0)]!.dims[0]).toBe(4)
  for (const [row, source] of [2, 2, 0, 1].entries())
    expect(await kept(copied, row, 1, 4)).toEqual(expected(source, 1, 4))
  const one = KVCache.pick([{ cache: copied, row: 1 }])
  await one.append(added([2], 4, 1), masksOf(1, 1))
  expect(await kept(one, 0, 0, 5)).toEqual(expected(2, 0, 5))
})

test('rows of caches of different lengths are joined: the shorter is padded at its end, and masked there', async () => {
  const long = new KVCache(sizes, 2)
  await long.append(added([0, 1], 0, 18), masksOf(2, 18))
  const short = new KVCache(sizes, 1)
  await short.append(added([2], 0, 3), [[1, 0, 1]])
  const joined = KVCache.pick([
    { cache: short, row: 0 },
    { cache: long, row: 1 },
  ])
  expect(joined.feeds()[LANGUAGE.pastKey(0)]!.dims).toEqual([2, HEADS, 32, SIZE])
  await joined.append(added([3, 4], 18, 1), masksOf(2, 1))
  for (const head of [0, 1]) {
    expect(await kept(joined, 0, head, 3)).toEqual(expected(2, head, 3))
    expect(await kept(joined, 1, head, 18)).toEqual(expected(1, head, 18))
    expect((await kept(joined, 0, head, 19)).slice(-SIZE)).toEqual(expected(3, head, 19).slice(-SIZE))
  }
  const zeros = (length: number) => new Array<number>(length).fill(0)
  const ones = (length: number) => new Array<number>(length).fill(1)
  expect(joined.maskWith([[1], [1]])).toEqual([
    [1, 0, 1, ...zeros(15), 1, ...zeros(13), 1],
    [...ones(19), ...zeros(13), 1],
  ])
})

test('all rows of a cache in their order are that cache, without a copy', async () => {
  const cache = new KVCache(sizes, 2)
  await cache.append(added([0, 1], 0, 2), masksOf(2, 2))
  const rows = [0, 1].map((row) => ({ cache, row }))
  expect(KVCache.pick(rows)).toBe(cache)
  expect(KVCache.pick([...rows].reverse())).not.toBe(cache)
})
