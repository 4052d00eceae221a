// The store on disk: what it promises to several who write at once, over time, and after a crash.

import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDiskStore } from '../../src/store/disk.ts'
import { jsonBytes, readJsonOf, type Store } from '../../src/store/store.ts'

let folder: string
let store: Store
let now = Date.now()
const DAY_MS = 86_400_000
const bytes = (text: string) => new TextEncoder().encode(text)
const textOf = async (key: string, from = store) => {
  const stored = await from.read(key)
  return stored && new TextDecoder().decode(stored.bytes)
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-store-'))
  now = Date.now()
  store = await openDiskStore(folder, () => now)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('of ten who create a key at once one succeeds, over two processes', async () => {
  const other = await openDiskStore(folder, () => now)
  const made = await Promise.all(
    Array.from({ length: 10 }, (_, i) => (i % 2 ? store : other).create('jobs/a', bytes(`${i}`), DAY_MS)),
  )
  expect(made.filter((version) => version !== undefined)).toHaveLength(1)
})

test('of ten who replace one version at once one succeeds', async () => {
  const version = await store.create('jobs/a', bytes('first'), DAY_MS)
  const done = await Promise.all(
    Array.from({ length: 10 }, (_, i) => store.replace('jobs/a', bytes(`${i}`), DAY_MS, version)),
  )
  expect(done.filter((each) => each !== undefined)).toHaveLength(1)
})

test('a value ends when its time is over, and its key can be created again', async () => {
  await store.create('jobs/a', bytes('old'), 1_000)
  now += 1_001
  expect(await store.read('jobs/a')).toBeUndefined()
  expect(await store.create('jobs/a', bytes('new'), 1_000)).toBeDefined()
  expect(await textOf('jobs/a')).toBe('new')
})

test('what is written outlives the process', async () => {
  await store.create('jobs/a', bytes('kept'), DAY_MS)
  expect(await textOf('jobs/a', await openDiskStore(folder))).toBe('kept')
})

test('lists and removes by key', async () => {
  await store.create('jobs/a', bytes('1'), DAY_MS)
  await store.create('jobs/b', bytes('2'), DAY_MS)
  await store.create('conversations/c', bytes('3'), DAY_MS)
  expect((await store.list('jobs/')).sort()).toEqual(['jobs/a', 'jobs/b'])
  await store.remove('jobs/a')
  await store.remove('jobs/a')
  expect(await store.list('jobs/')).toEqual(['jobs/b'])
})

test('sweeping takes what is over and what a dead process was writing, and nothing else', async () => {
  await store.create('jobs/over', bytes('1'), 1_000)
  await store.create('jobs/kept', bytes('2'), DAY_MS)
  await writeFile(join(folder, 'jobs/.writing-dead'), 'half')
  await utimes(join(folder, 'jobs/.writing-dead'), new Date(now + DAY_MS), new Date(now + DAY_MS))
  now += 3_700_000
  await store.sweep()
  expect(await readdir(join(folder, 'jobs'))).toEqual(['kept'])
})

test('only its owner can read the files', async () => {
  await store.create('jobs/a', bytes('1'), DAY_MS)
  const { mode } = await import('node:fs').then(({ statSync }) => statSync(join(folder, 'jobs/a')))
  expect(mode & 0o077).toBe(0)
})

test.each(['../escape', 'jobs/../../x', 'jobs', '/etc/passwd', 'jobs/a b', ''])(
  'refuses the key %j',
  async (key) => {
    await expect(store.read(key)).rejects.toThrow('Expected a key')
  },
)

test('a folder that cannot be is said so', async () => {
  await writeFile(join(folder, 'file'), '')
  await expect(openDiskStore(join(folder, 'file/below'))).rejects.toMatchObject({ code: 'no_state' })
})

test('JSON goes in and comes out', async () => {
  await store.create('jobs/a', jsonBytes({ a: [1, 'ü'] }), DAY_MS)
  expect((await readJsonOf(store, 'jobs/a', (value) => value))?.value).toEqual({ a: [1, 'ü'] })
})
