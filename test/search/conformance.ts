// What every vector store must do, for each implementation of src/search/store.ts.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { textSimilarity } from '../../src/search/score.ts'
import type { IndexedPicture, Picture, SearchStore } from '../../src/search/store.ts'
import { FAKE_MODEL, fakeEmbedder, pictureOf } from './fake.ts'

const embedder = fakeEmbedder()

export async function row(id: string, ...words: string[]): Promise<IndexedPicture> {
  const vectors = await embedder.embedPicture(pictureOf(...words))
  return {
    id,
    sha256: `sha of ${words.join(' ')}`,
    sizeBytes: 7,
    modifiedMs: 1_000.25,
    dateMs: 1_000.25,
    vectors,
  }
}

export function refused(id: string, problem: string): Picture {
  return { id, sha256: 'x', sizeBytes: 3, modifiedMs: 5, dateMs: 5, problem }
}

/** Ids with all that may mean something to a store: SQL, globs, paths, other alphabets, line breaks. */
const ODD_IDS = [
  "/a/it's",
  '/a/100%_off',
  '/a/b\\c',
  '/a/日本 🦀',
  '/a/two\nlines',
  '/a/"quoted"; DROP TABLE x',
  `/a/${'n'.repeat(4_000)}`,
]

/** @param open opens the store of one test; a second call is another process's view of the same */
export function testSearchStore(open: () => Promise<SearchStore>): void {
  let store: SearchStore
  beforeEach(async () => {
    store = await open()
  })
  afterEach(() => store.close())
  const ids = (pictures: readonly Picture[]) => pictures.map(({ id }) => id).sort()

  test('a collection that was not created is absent; a created one is found with its model, also from elsewhere', async () => {
    expect(await store.open('photos')).toBeUndefined()
    const made = await store.create('photos', FAKE_MODEL)
    expect(made.model).toMatchObject(FAKE_MODEL)
    const elsewhere = await open()
    expect((await elsewhere.open('photos'))?.model).toMatchObject(FAKE_MODEL)
    expect(await elsewhere.names()).toEqual(['photos'])
    await store.drop('photos')
    expect(await elsewhere.names()).toEqual([])
    elsewhere.close()
  })

  test('creating a collection twice keeps what it has', async () => {
    await (await store.create('photos', FAKE_MODEL)).upsert([await row('/a/1', 'crab')])
    const again = await store.create('photos', { ...FAKE_MODEL, key: 'other' })
    expect(again.model.key).toBe(FAKE_MODEL.key)
    expect(await again.count()).toBe(1)
  })

  test('rows come back as they were written, and a row with the same id replaces', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    const first = { ...(await row('/a/1', 'crab')), metadata: '{"by":"Ann"}' }
    await photos.upsert([first, await row('/a/2', 'helicopter'), refused('/a/3', 'it is text')])
    expect(await photos.read({ ids: ['/a/1'] })).toEqual([first])
    const second = await row('/a/1', 'guitar')
    await photos.upsert([second])
    expect(await photos.read({ ids: ['/a/1', '/a/3', '/a/none'] })).toEqual([second])
    expect(await photos.list({})).toEqual([
      { ...second, vectors: undefined },
      { ...(await row('/a/2', 'helicopter')), vectors: undefined },
      refused('/a/3', 'it is text'),
    ])
    expect(await photos.count()).toBe(2)
  })

  test('odd ids', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    await photos.upsert(await Promise.all(ODD_IDS.map((id) => row(id, 'crab'))))
    for (const id of ODD_IDS) expect(ids(await photos.read({ ids: [id] }))).toEqual([id])
    expect(ids(await photos.list({ under: ['/a/'] }))).toEqual([...ODD_IDS].sort())
    expect(ids(await photos.list({ under: ["/a/it's", '/a/100%_'] }))).toEqual(['/a/100%_off', "/a/it's"])
    await photos.remove(ODD_IDS.slice(1))
    expect(ids(await photos.list({}))).toEqual([ODD_IDS[0]])
  })

  test('filters and pages', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    const dated = await Promise.all(
      [10, 20, 30, 40].map(async (dateMs) => ({ ...(await row(`/d/${dateMs}`, 'crab')), dateMs })),
    )
    await photos.upsert(dated)
    expect(ids(await photos.list({ fromMs: 20, toMs: 30 }))).toEqual(['/d/20', '/d/30'])
    expect(ids(await photos.list({ ids: [] }))).toEqual([])
    expect(ids(await photos.list({ under: [] }))).toEqual([])
    expect(ids(await photos.list({ sha256: 'sha of crab', ids: ['/d/10'] }))).toEqual(['/d/10'])
    expect((await photos.list({}, { limit: 2, offset: 1 })).map(({ id }) => id)).toEqual(['/d/20', '/d/30'])
    expect(await photos.count({ fromMs: 35 })).toBe(1)
    const text = await embedder.embedText('crab')
    expect(ids(await photos.candidates(text, 'any', { ids: ['/d/10', '/d/40'] }, 9))).toEqual([
      '/d/10',
      '/d/40',
    ])
  })

  test('candidates are the most alike, before and after settling; rows with a problem are never among them', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    const words = ['crab', 'guitar', 'tiger', 'train', 'umbrella', 'melon', 'sun', 'boat']
    const rows = await Promise.all(
      words.map((word, i) => row(`/w/${word}`, word, words[(i + 1) % words.length]!)),
    )
    for (const one of rows) await photos.upsert([one])
    await photos.upsert([refused('/w/bad', 'it is empty')])
    const text = await embedder.embedText('tiger')
    const exact = [...rows].sort((a, b) => textSimilarity(b.vectors, text) - textSimilarity(a.vectors, text))
    for (const round of ['before', 'after']) {
      const found = await photos.candidates(text, 'any', {}, 3)
      expect(ids(found), round).toEqual(ids(exact.slice(0, 3)))
      expect((await photos.candidates(text, 'mean', {}, 99)).length, round).toBe(rows.length)
      await photos.settle()
      expect(await photos.isSettled()).toBe(true)
    }
  })

  test('what another opened collection writes is seen', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    const elsewhere = await open()
    const theirs = (await elsewhere.open('photos'))!
    await theirs.upsert([await row('/a/1', 'crab')])
    expect(await photos.count()).toBe(1)
    await photos.settle()
    await photos.remove(['/a/1'])
    expect(await theirs.count()).toBe(0)
    elsewhere.close()
  })

  test('settling an empty collection, and one that lost its last row', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    await photos.settle()
    await photos.upsert([await row('/a/1', 'crab')])
    await photos.remove(['/a/1'])
    expect(await photos.isSettled()).toBe(false)
    await photos.settle()
    expect(await photos.isSettled()).toBe(true)
    expect(await photos.list({})).toEqual([])
  })

  test('vectors of another size are refused', async () => {
    const photos = await store.create('photos', FAKE_MODEL)
    const wrong = { ...(await row('/a/1', 'crab')), vectors: new Uint16Array(4) }
    await expect(photos.upsert([wrong])).rejects.toThrow()
    expect(await photos.count()).toBe(0)
  })
}
