// Guarantees of every store; run against each implementation.

import { expect, test } from 'vitest'
import { jsonBytes, readJsonOf, type Store } from '../../src/store/store.ts'

const DAY_MS = 86_400_000
const bytes = (text: string) => new TextEncoder().encode(text)

/**
 * `open` opens the same store again, as another process does. `pass` advances the clock of all. `lose` loses the response of
 * the next write that takes effect. `decidesAtOnce`: whether the backend decides a conditional write atomically, as S3 does.
 */
export function conformsToStore(
  open: () => Promise<Store>,
  pass: (ms: number) => void,
  lose: () => void,
  decidesAtOnce = true,
): void {
  const textOf = async (store: Store, key: string) => {
    const stored = await store.read(key)
    return stored && new TextDecoder().decode(stored.bytes)
  }

  test.skipIf(!decidesAtOnce)('of ten who create a key at once, in two processes, one succeeds', async () => {
    const [one, other] = [await open(), await open()]
    const made = await Promise.all(
      Array.from({ length: 10 }, (_, i) => (i % 2 ? one : other).create('jobs/a', bytes(`${i}`), DAY_MS)),
    )
    expect(made.filter((version) => version !== undefined)).toHaveLength(1)
  })

  test.skipIf(!decidesAtOnce)('of ten who replace one version at once one succeeds', async () => {
    const store = await open()
    const version = await store.create('jobs/a', bytes('first'), DAY_MS)
    const done = await Promise.all(
      Array.from({ length: 10 }, (_, i) => store.replace('jobs/a', bytes(`next ${i}`), DAY_MS, version)),
    )
    expect(done.filter((each) => each !== undefined)).toHaveLength(1)
  })

  test('a version that is no more, or a key that never was, is not replaced', async () => {
    const store = await open()
    const version = await store.create('jobs/a', bytes('1'), DAY_MS)
    await store.replace('jobs/a', bytes('2'), DAY_MS)
    expect(await store.replace('jobs/a', bytes('3'), DAY_MS, version)).toBeUndefined()
    await store.remove('jobs/a')
    expect(await store.replace('jobs/a', bytes('3'), DAY_MS, version)).toBeUndefined()
    expect(await store.read('jobs/a')).toBeUndefined()
  })

  test('each write gives the version that reads give', async () => {
    const store = await open()
    const created = await store.create('jobs/a', bytes('1'), DAY_MS)
    expect((await store.read('jobs/a'))?.version).toBe(created)
    const replaced = await store.replace('jobs/a', bytes('2'), DAY_MS, created)
    expect((await store.read('jobs/a'))?.version).toBe(replaced)
    expect(replaced).not.toBe(created)
  })

  test('a value names the time at which it ends', async () => {
    const store = await open()
    await store.create('jobs/a', bytes('1'), DAY_MS)
    const first = (await store.read('jobs/a'))!.expiresAt
    await store.replace('jobs/a', bytes('2'), 2 * DAY_MS)
    const later = (await store.read('jobs/a'))!.expiresAt - first
    expect(later).toBeGreaterThan(0.9 * DAY_MS)
    expect(later).toBeLessThan(1.1 * DAY_MS)
  })

  test('a value ends when its time is over, and its key can be created again, by one', async () => {
    const store = await open()
    await store.create('jobs/a', bytes('old'), 1_000)
    pass(1_001)
    expect(await store.read('jobs/a')).toBeUndefined()
    const many = decidesAtOnce ? [1, 2, 3] : [1]
    const made = await Promise.all(many.map((i) => store.create('jobs/a', bytes(`new ${i}`), DAY_MS)))
    expect(made.filter((version) => version !== undefined)).toHaveLength(1)
    expect(await textOf(store, 'jobs/a')).toMatch(/^new/)
  })

  test('a write that is done wins although its answer is lost', async () => {
    const store = await open()
    const writes: [string, (version?: string) => Promise<string | undefined>][] = [
      ['1', () => store.create('jobs/a', bytes('1'), 1_000)],
      ['2', (version) => store.replace('jobs/a', bytes('2'), 1_000, version)],
      ['3', () => store.replace('jobs/a', bytes('3'), 1_000)],
      ['4', () => store.create('jobs/a', bytes('4'), 1_000)],
    ]
    let version: string | undefined
    for (const [text, write] of writes) {
      // An expired value may be created again.
      if (text === '4') pass(1_001)
      lose()
      version = await write(version)
      expect(version).toBeDefined()
      expect(await textOf(store, 'jobs/a')).toBe(text)
      expect((await store.read('jobs/a'))?.version).toBe(version)
    }
    expect(await (await open()).create('jobs/a', bytes('5'), 1_000)).toBeUndefined()
  })

  test('what is written outlives the process', async () => {
    await (await open()).create('jobs/a', bytes('kept'), DAY_MS)
    expect(await textOf(await open(), 'jobs/a')).toBe('kept')
  })

  test('lists all keys below a name, and removes what is there or not', async () => {
    const store = await open()
    const keys = Array.from({ length: 8 }, (_, i) => `jobs/${i}`)
    for (const key of keys) await store.create(key, bytes('x'), DAY_MS)
    await store.create('conversations/c', bytes('x'), DAY_MS)
    expect((await store.list('jobs/')).sort()).toEqual(keys)
    expect(await store.list('nothing/')).toEqual([])
    await store.remove('jobs/0')
    await store.remove('jobs/0')
    expect((await store.list('jobs/')).sort()).toEqual(keys.slice(1))
  })

  test('bytes and JSON come back as they went in', async () => {
    const store = await open()
    const all = Uint8Array.from({ length: 100_000 }, (_, i) => i % 256)
    await store.replace('queries/m/a', all, DAY_MS)
    expect((await store.read('queries/m/a'))?.bytes).toEqual(all)
    await store.replace('queries/m/b', new Uint8Array(), DAY_MS)
    expect((await store.read('queries/m/b'))?.bytes).toEqual(new Uint8Array())
    await store.create('jobs/a', jsonBytes({ a: [1, 'ü'] }), DAY_MS)
    expect((await readJsonOf(store, 'jobs/a', (value) => value))?.value).toEqual({ a: [1, 'ü'] })
  })

  test.each(['../escape', 'jobs/../../x', 'jobs', '/etc/passwd', 'jobs/a b', ''])(
    'refuses the key %j',
    async (key) => {
      await expect((await open()).read(key)).rejects.toThrow('Expected a key')
    },
  )
}
