// Where the KV cache stores keys and values, and what it keeps when rows are reordered and slots added.

import { describe, expect, test } from 'vitest'
import { LANGUAGE } from '../../src/artifact/contract.ts'
import { type CacheSizes, KVCache } from '../../src/run/kv-cache.ts'
import { createRng } from '../../src/run/sampling.ts'
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
  expect(copied[0]!.cache.feeds()[LANGUAGE.pastValue(0)]!.dims[0]).toBe(4)
  for (const [i, source] of [2, 2, 0, 1].entries()) {
    const { cache, row } = copied[i]!
    expect(await kept(cache, row, 1, 4)).toEqual(expected(source, 1, 4))
  }
  const [one] = KVCache.pick([copied[1]!])
  await one!.cache.append(added([2], 4, 1), masksOf(1, 1))
  expect(await kept(one!.cache, 0, 0, 5)).toEqual(expected(2, 0, 5))
})

test('rows of caches of different lengths are joined: the shorter is padded at its end, and masked there', async () => {
  const long = new KVCache(sizes, 2)
  await long.append(added([0, 1], 0, 18), masksOf(2, 18))
  const short = new KVCache(sizes, 1)
  await short.append(added([2], 0, 3), [[1, 0, 1]])
  const { cache: joined } = KVCache.pick([
    { cache: short, row: 0 },
    { cache: long, row: 1 },
  ])[0]!
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

test('as many rows of a cache as it has are that cache: rows stay where they are, in any order', async () => {
  const cache = new KVCache(sizes, 3)
  await cache.append(added([0, 1, 2], 0, 2), masksOf(3, 2))
  const buffer = await cache.feeds()[LANGUAGE.pastKey(0)]!.floats()
  const picks = [2, 0, 1].map((row) => ({ cache, row }))
  expect(KVCache.pick(picks)).toEqual(picks)
  expect(await cache.feeds()[LANGUAGE.pastKey(0)]!.floats()).toBe(buffer)
  for (const row of [0, 1, 2]) expect(await kept(cache, row, 1, 2)).toEqual(expected(row, 1, 2))
})

test('a row that is picked twice takes the place of one that is not picked', async () => {
  const cache = new KVCache(sizes, 3)
  await cache.append(added([0, 1, 2], 0, 2), masksOf(3, 2))
  const rows = KVCache.pick([1, 1, 2].map((row) => ({ cache, row })))
  expect(rows).toEqual([1, 0, 2].map((row) => ({ cache, row })))
  for (const [row, source] of [1, 1, 2].entries())
    expect(await kept(cache, row, 0, 2)).toEqual(expected(source, 0, 2))
})

/** A row of the naive model: what it has read, a number for each position, and null where it is padded. */
type NaiveRow = (number | null)[]

describe.each([1, 2, 3, 4])('random joins, leaves and branches, seed %i', (seed) => {
  test('give each row what it has read, and nothing else', async () => {
    const random = createRng(seed)
    const below = (n: number) => Math.floor(random() * n)
    let read = 0
    /** Reads `length` positions in each row of a cache; the mask hides some of the first run. */
    const append = async (cache: KVCache, rows: NaiveRow[], masks: number[][]) => {
      const length = masks[0]!.length
      const first = read
      const data = Float32Array.from({ length: rows.length * length * WIDTH }, (_, i) => first * WIDTH + i)
      read += rows.length * length
      const floats = Tensor.float32(data, [rows.length, length, WIDTH])
      await cache.append({ [LANGUAGE.newKey(0)]: floats, [LANGUAGE.newValue(0)]: floats }, masks)
      masks.forEach((mask, row) => {
        rows[row]!.push(...mask.map((one, p) => (one ? first + row * length + p : null)))
      })
    }
    const start = async () => {
      const count = 1 + below(3)
      const cache = new KVCache(sizes, count)
      const naive: NaiveRow[] = Array.from({ length: count }, () => [])
      const length = 1 + below(20)
      const masks = naive.map(() => Array.from({ length }, (_, p) => (p === 0 || random() < 0.8 ? 1 : 0)))
      await append(cache, naive, masks)
      return naive.map((own, row) => ({ state: { cache, row }, own }))
    }
    let rows = await start()
    for (let step = 0; step < 60; step++) {
      const kind = below(4)
      const chosen =
        kind === 0
          ? rows.filter(() => random() < 0.7)
          : kind === 1 && rows.length < 12
            ? [...rows, ...(await start())]
            : rows.map(() => rows[below(rows.length)]!)
      if (chosen.length === 0) continue
      const states = KVCache.pick(chosen.map(({ state }) => state))
      const { cache } = states[0]!
      expect(new Set(states.map((state) => state.row)).size).toBe(chosen.length)
      const longest = Math.max(...chosen.map(({ own }) => own.length))
      rows = states.map((state, i) => {
        const { own } = chosen[i]!
        return { state, own: [...own, ...new Array<null>(longest - own.length).fill(null)] }
      })
      const inCache: NaiveRow[] = []
      for (const { state, own } of rows) inCache[state.row] = own
      await append(
        cache,
        inCache,
        inCache.map(() => [1]),
      )
      const masks = cache.maskWith(inCache.map(() => []))
      for (const { state, own } of rows) {
        expect(masks[state.row]!.slice(0, own.length)).toEqual(
          own.map((position) => Number(position !== null)),
        )
        for (const head of [0, 1]) {
          const floats = await kept(cache, state.row, head, own.length)
          const expected = own.flatMap((position, p) =>
            [0, 1, 2].map((k) =>
              position === null ? floats[p * SIZE + k] : position * WIDTH + head * SIZE + k,
            ),
          )
          expect(floats).toEqual(expected)
        }
      }
    }
    expect(read).toBeGreaterThan(200)
  })
})
