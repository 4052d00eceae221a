// What the stages computed is kept for as long as promised and within its limits, in memory and in the store together.

import { serialize, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../src/artifact/contract.ts'
import {
  MAX_PROMPTS_BYTES,
  MAX_QUERIES_BYTES,
  MAX_VISION_BYTES,
  stageCaches,
} from '../../src/engine/stage-cache.ts'
import { type Elements, type ElementType, Tensor } from '../../src/run/tensor.ts'
import type { Store } from '../../src/store/store.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'

const HOUR_MS = 3_600_000
const MIB = 1024 * 1024
const files = [{ path: 'vision.onnx', sizeBytes: 1, sha256: '1' }]
const queries = { count: 2, width: 3, reads_text: false, text: null }
const language: Manifest['language'] = { kind: 'none' }
const manifest = { queries, language, files }
const text = { tokenizer: 'qformer', vocabulary: 9, positions: 9 }
const readingText = { queries: { ...queries, reads_text: true, text }, language, files }

const PREFIX = { prefix: Tensor.float32(Float32Array.of(1, 2, 3), [1, 1, 3]) }
/** As large as it says, without the memory. */
const ofSize = (bytes: number) => ({
  prefix: new Tensor('int32', { handle: undefined, download: async () => new Int32Array() }, [1, bytes / 4]),
})

/** The only value in the store, with its key. */
async function onlyValue(store: Store) {
  const keys = await store.list('')
  expect(keys).toHaveLength(1)
  return { key: keys[0]!, bytes: (await store.read(keys[0]!))!.bytes }
}

test('an output that is read back from the store keeps its first time of expiry, in memory too', async () => {
  const shortMs = 40
  let time = Date.now()
  const store = inMemoryStore(() => time)
  const open = () => stageCaches(manifest, { store, ttlMs: HOUR_MS, now: () => time })
  await open().queries.set('a', PREFIX)
  // Another process reads it back just before it expires.
  time += HOUR_MS - shortMs
  const other = open()
  expect(await other.queries.get('a')).toEqual(PREFIX)
  time += shortMs
  await expect.poll(() => other.queries.get('a'), { timeout: 60_000 }).toBeUndefined()
})

test('of another model nothing is found', async () => {
  const stored = { store: inMemoryStore(), ttlMs: HOUR_MS }
  await stageCaches(manifest, stored).queries.set('a', PREFIX)
  const other = { ...manifest, files: [{ ...files[0]!, sha256: '0' }] }
  expect(await stageCaches(other, stored).queries.get('a')).toBeUndefined()
  expect(await stageCaches(manifest, stored).queries.get('a')).toEqual(PREFIX)
})

test.each<[ElementType, Elements]>([
  ['float32', Float32Array.of(0.1, -0, Number.NaN, Number.POSITIVE_INFINITY)],
  ['float16', Uint16Array.of(0, 0x3c00, 0xffff, 1)],
  ['int64', BigInt64Array.of(0n, -1n, 2n ** 62n, 7n)],
  ['int32', Int32Array.of(0, -1, 2 ** 30, 7)],
])('%s comes back from the store as it was', async (type, elements) => {
  const stored = { store: inMemoryStore(), ttlMs: HOUR_MS }
  const outputs = { a: new Tensor(type, elements, [2, 1, 2]), b: Tensor.float32(new Float32Array(0), [0, 3]) }
  await stageCaches(manifest, stored).queries.set('a', outputs)
  const back = (await stageCaches(manifest, stored).queries.get('a'))!
  expect(Object.keys(back)).toEqual(['a', 'b'])
  expect([back['a']!.type, back['a']!.dims, await back['a']!.elements()]).toEqual([type, [2, 1, 2], elements])
  expect([back['b']!.type, back['b']!.dims, await back['b']!.elements()]).toEqual([
    'float32',
    [0, 3],
    new Float32Array(0),
  ])
})

describe('limits', () => {
  test('the least recently used output goes first', async () => {
    const cache = stageCaches(manifest).queries
    const part = MAX_QUERIES_BYTES / 4
    for (const key of ['a', 'b', 'c', 'd']) await cache.set(key, ofSize(part))
    await cache.get('a')
    await cache.set('e', ofSize(part))
    const kept = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((key) => cache.get(key)))
    expect(kept.map((outputs) => outputs !== undefined)).toEqual([true, false, true, true, true])
    // One that needs the room of two.
    await cache.set('f', ofSize(2 * part))
    const later = await Promise.all(['a', 'c', 'd', 'e', 'f'].map((key) => cache.get(key)))
    expect(later.map((outputs) => outputs !== undefined)).toEqual([false, false, true, true, true])
  })

  test('each stage has its own, and where queries read no text there is one stage', async () => {
    expect(stageCaches(manifest).vision).toBeUndefined()
    const caches = stageCaches(readingText)
    await caches.queries.set('a', ofSize(MAX_QUERIES_BYTES))
    await caches.vision!.set('a', ofSize(MAX_VISION_BYTES))
    expect([await caches.queries.get('a'), await caches.vision!.get('a')]).not.toContain(undefined)
    await caches.vision!.set('b', ofSize(MIB))
    expect(await caches.vision!.get('a')).toBeUndefined()
    expect(await caches.queries.get('a')).toBeDefined()
  })

  test('an output above the limit is not kept, and removes no other', async () => {
    const cache = stageCaches(manifest).queries
    await cache.set('a', ofSize(MIB))
    await cache.set('b', ofSize(MAX_QUERIES_BYTES + 4))
    expect([await cache.get('a'), await cache.get('b')]).toEqual([expect.anything(), undefined])
  })
})

describe('what the language model keeps of a prompt', () => {
  const decoder = (own: Partial<Manifest['queries']> = {}) => {
    const kind = { kind: 'decoder' } as Manifest['language']
    return { ...manifest, language: kind, queries: { ...queries, ...own } }
  }

  test('is kept for decoders whose image embeddings do not depend on the text', () => {
    expect(stageCaches(decoder()).prompts).toBeDefined()
    expect(stageCaches(decoder({ reads_text: true, text })).prompts).toBeUndefined()
    expect(stageCaches(manifest).prompts).toBeUndefined()
    const other = { kind: 'encoder-decoder' } as Manifest['language']
    expect(stageCaches({ ...manifest, language: other }).prompts).toBeUndefined()
  })

  test('belongs to one picture, and the last one stays', async () => {
    const { queries, prompts } = stageCaches(decoder())
    for (const key of ['a', 'b']) await queries.set(key, PREFIX)
    prompts!('a').set({ byteLength: 1 })
    prompts!('a').set({ byteLength: 2 })
    expect(prompts!('a').get()).toEqual({ byteLength: 2 })
    expect(prompts!('b').get()).toBeUndefined()
  })

  test('has a limit in bytes: the least recently used goes first, and one above the limit is not kept', async () => {
    const { queries, prompts } = stageCaches(decoder())
    const part = { byteLength: MAX_PROMPTS_BYTES / 4 }
    for (const key of ['a', 'b', 'c', 'd', 'e']) await queries.set(key, PREFIX)
    for (const key of ['a', 'b', 'c', 'd']) prompts!(key).set(part)
    prompts!('a').get()
    prompts!('e').set(part)
    const kept = () => ['a', 'b', 'c', 'd', 'e'].filter((key) => prompts!(key).get())
    expect(kept()).toEqual(['a', 'c', 'd', 'e'])
    prompts!('b').set({ byteLength: MAX_PROMPTS_BYTES + 1 })
    expect(kept()).toEqual(['a', 'c', 'd', 'e'])
  })

  test("goes when the picture's queries go, and does not come back with them", async () => {
    const { queries, prompts } = stageCaches(decoder())
    const part = MAX_QUERIES_BYTES / 2
    await queries.set('a', ofSize(part))
    const cache = prompts!('a')
    cache.set({ byteLength: 1 })
    await queries.set('b', ofSize(part))
    await queries.set('c', ofSize(part))
    expect(cache.get()).toBeUndefined()
    // A row that was read meanwhile.
    cache.set({ byteLength: 1 })
    await queries.set('a', ofSize(part))
    expect(cache.get()).toBeUndefined()
    cache.set({ byteLength: 1 })
    expect(cache.get()).toBeDefined()
    // Embeddings that were computed anew.
    await queries.set('a', ofSize(part))
    expect(cache.get()).toBeUndefined()
  })

  test('expires with the queries, is not in the store, and uses do not prolong it', async () => {
    const shortMs = 40
    const store = inMemoryStore()
    const { queries, prompts } = stageCaches(decoder(), { store, ttlMs: shortMs })
    await queries.set('a', PREFIX)
    prompts!('a').set({ byteLength: 1 })
    await onlyValue(store)
    const isKept = () => {
      const kept = prompts!('a').get()
      if (kept) prompts!('a').set(kept)
      return kept !== undefined
    }
    await expect.poll(isKept, { timeout: 60_000 }).toBe(false)
    expect(await queries.get('a')).toBeUndefined()
  })

  test('leaves memory once it has expired, with the next request about any picture', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const shortMs = 40
    const { queries, prompts } = stageCaches(decoder(), { store: inMemoryStore(), ttlMs: shortMs })
    const keep = async (picture: string) => {
      await queries.set(picture, PREFIX)
      const prompt = { byteLength: 1 }
      prompts!(picture).set(prompt)
      return new WeakRef(prompt)
    }
    const kept = await keep('a')
    const isInMemory = () => {
      prompts!('b')
      collectGarbage()
      return kept.deref() !== undefined
    }
    await expect.poll(isInMemory, { timeout: 20_000 }).toBe(false)
  })
})

describe('in the store', () => {
  test('is the stage that depends on the picture alone', async () => {
    const store = inMemoryStore()
    const stored = { store, ttlMs: HOUR_MS }
    await stageCaches(manifest, stored).queries.set('a', PREFIX)
    expect((await onlyValue(store)).key).toMatch(/^queries\/[0-9a-f]{16}\/a$/)

    const other = inMemoryStore()
    const caches = stageCaches(readingText, { store: other, ttlMs: HOUR_MS })
    await caches.queries.set('a/b', PREFIX)
    await caches.vision!.set('a', PREFIX)
    expect((await onlyValue(other)).key).toMatch(/^vision\/[0-9a-f]{16}\/a$/)
  })

  test('what the version before wrote, raw float32, is forgotten and replaced', async () => {
    const store = inMemoryStore()
    const open = () => stageCaches(manifest, { store, ttlMs: HOUR_MS }).queries
    await open().set('a', PREFIX)
    const { key } = await onlyValue(store)
    for (const value of [0, 1, 0.37, -1e30, Number.NaN]) {
      const raw = new Uint8Array(new Float32Array(96).fill(value).buffer)
      await store.replace(key, raw, HOUR_MS)
      expect(await open().get('a')).toBeUndefined()
    }
    await open().set('a', PREFIX)
    expect(await open().get('a')).toEqual(PREFIX)
  })

  test('bytes of another version, cut or of something else are forgotten', async () => {
    const store = inMemoryStore()
    const open = () => stageCaches(manifest, { store, ttlMs: HOUR_MS }).queries
    await open().set('a', PREFIX)
    const { key, bytes } = await onlyValue(store)
    const tensor: unknown[] = ['prefix', 'float32', Float32Array.of(1, 2, 3), [1, 1, 3]]
    const written = (...parts: unknown[]) => new Uint8Array(serialize(parts))
    // Only the right form is read, so that the others are refused for their fault.
    await store.replace(key, written(1, [tensor]), HOUR_MS)
    expect(await open().get('a')).toEqual(PREFIX)

    const odd = [
      ...Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length)),
      new TextEncoder().encode('{"prefix":[1,2,3]}'),
      new Uint8Array(10_000).fill(0xff),
      new Uint8Array(serialize(null)),
      new Uint8Array(serialize('text')),
      written(),
      written(0, [tensor]),
      written(2, [tensor]),
      written(1, null),
      written(1, 'ab'),
      written(1, [null]),
      written(1, [['prefix']]),
      written(1, [tensor.with(1, 'float64')]),
      written(1, [tensor.with(2, 'abc')]),
      written(1, [tensor.with(2, Float32Array.of(1, 2))]),
      written(1, [tensor.with(2, Uint16Array.of(1, 2, 3))]),
      written(1, [tensor.with(3, 3)]),
      written(1, [tensor.with(3, [1, 4])]),
    ]
    for (const [i, value] of odd.entries()) {
      await store.replace(key, value, HOUR_MS)
      expect(await open().get('a'), `${i}`).toBeUndefined()
    }
  })

  test('an error is a miss, and what was computed is kept in memory', async () => {
    const failing = async () => {
      throw new Error('No store.')
    }
    const store = { ...inMemoryStore(), read: failing, replace: failing }
    const cache = stageCaches(manifest, { store, ttlMs: HOUR_MS }).queries
    expect(await cache.get('a')).toBeUndefined()
    await cache.set('a', PREFIX)
    expect(await cache.get('a')).toEqual(PREFIX)
  })
})

describe.each([
  ['without texts', manifest],
  ['with texts', readingText],
])('a picture that is forgotten, of a model %s', (_, described) => {
  test('leaves memory and store, in every stage and with every text; others stay', async () => {
    const store = inMemoryStore()
    const caches = stageCaches(described, { store, ttlMs: HOUR_MS })
    for (const picture of ['a', 'b']) {
      await caches.vision?.set(picture, PREFIX)
      await caches.queries.set(picture, PREFIX)
      if (described === readingText) await caches.queries.set(`${picture}/question`, PREFIX)
    }
    await caches.forget('a')
    const others = stageCaches(described, { store, ttlMs: HOUR_MS })
    for (const each of [caches, others]) {
      expect(await each.vision?.get('a')).toBeUndefined()
      expect(await each.queries.get('a')).toBeUndefined()
    }
    expect(await caches.queries.get('a/question')).toBeUndefined()
    expect(await caches.queries.get('b')).toEqual(PREFIX)
    expect((await store.list('')).map((key) => key.slice(-1))).toEqual(['b'])
  })
})
