// Collections in LanceDB, in a folder.

import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openSearchStore } from '../../src/search/open.ts'
import { row, testSearchStore } from './conformance.ts'
import { FAKE_MODEL } from './fake.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-search-'))
})
afterEach(() => rm(folder, { recursive: true }))

testSearchStore(() => openSearchStore(folder))

/** Files that contain these vectors. */
async function filesWith(vectors: Uint16Array): Promise<string[]> {
  const bytes = Buffer.from(vectors.buffer, 0, 64)
  const found: string[] = []
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name)
    if ((await stat(path)).isFile() && (await readFile(path)).includes(bytes)) found.push(name)
  }
  return found
}

test.each([3, 1_200])('a deleted or replaced picture leaves the disk: one of %i', async (count) => {
  const store = await openSearchStore(folder)
  const photos = await store.create('photos', FAKE_MODEL)
  const rows = await Promise.all(Array.from({ length: count }, (_, i) => row(`/${i}`, `word${i}`, 'all')))
  await photos.upsert(rows.slice(0, count - 1))
  await photos.upsert(rows.slice(count - 1))
  await photos.settle()
  expect(await filesWith(rows[1]!.vectors)).toHaveLength(1)
  await photos.remove(['/1'])
  await photos.upsert([{ ...rows[2]!, vectors: rows[0]!.vectors }])
  await photos.settle()
  expect([await filesWith(rows[1]!.vectors), await filesWith(rows[2]!.vectors)]).toEqual([[], []])
  expect(await photos.count()).toBe(count - 1)
  expect((await photos.read({ ids: ['/2'] }))[0]!.vectors).toEqual(rows[0]!.vectors)
  store.close()
})

test('a search that runs while another process settles finds what there is', async () => {
  const [here, there] = [await openSearchStore(folder), await openSearchStore(folder)]
  const photos = await here.create('photos', FAKE_MODEL)
  const rows = await Promise.all(Array.from({ length: 40 }, (_, i) => row(`/${i}`, `word${i}`, 'all')))
  for (const one of rows) await photos.upsert([one])
  const theirs = (await there.open('photos'))!
  let isSettling = true
  const settling = photos.settle().finally(() => (isSettling = false))
  do expect(await theirs.read({ ids: ['/7'] })).toHaveLength(1)
  while (isSettling)
  await settling
  here.close()
  there.close()
})

test('two processes that write, remove and settle at the same time lose nothing', async () => {
  const [here, there] = [await openSearchStore(folder), await openSearchStore(folder)]
  const ours = await here.create('photos', FAKE_MODEL)
  const theirs = (await there.open('photos'))!
  const work = async (collection: typeof ours, name: string) => {
    for (let i = 0; i < 10; i++) {
      await collection.upsert([await row(`/${name}/${i}`, `${name}${i}`)])
      if (i % 3 === 2) await collection.settle()
      if (i % 4 === 3) await collection.remove([`/${name}/${i - 1}`])
    }
  }
  await Promise.all([work(ours, 'a'), work(theirs, 'b')])
  await ours.settle()
  const left = ['a', 'b'].flatMap((name) => [0, 1, 3, 4, 5, 7, 8, 9].map((i) => `/${name}/${i}`))
  expect((await theirs.list({})).map(({ id }) => id)).toEqual(left)
  expect(await ours.isSettled()).toBe(true)
  here.close()
  there.close()
})

test('a folder that cannot be used is an error that names it', async () => {
  await expect(
    openSearchStore('/dev/null/x').then((store) => store.create('a', FAKE_MODEL)),
  ).rejects.toMatchObject({
    code: 'index_failed',
    message: expect.stringContaining('/dev/null/x'),
  })
})

test('without the optional packages the error says what to install', async () => {
  vi.doMock('@lancedb/lancedb', () => {
    throw new Error("Cannot find package '@lancedb/lancedb'")
  })
  vi.resetModules()
  const { openSearchStore: open } = await import('../../src/search/open.ts')
  await expect(open(folder)).rejects.toMatchObject({
    code: 'no_search_library',
    message: expect.stringContaining('npm install @lancedb/lancedb@0.30.0 apache-arrow@18.1.0'),
  })
  vi.doUnmock('@lancedb/lancedb')
})
