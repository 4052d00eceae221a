// Groups of pictures that are the same file or look the same.

import { expect, test } from 'vitest'
import { fromHalf, toHalf } from '../../src/half.ts'
import { findDuplicates } from '../../src/search/duplicates.ts'
import { FAKE_MODEL, fakeEmbedder, pictureOf } from './fake.ts'
import { inMemoryCollection } from './in-memory.ts'

const embedder = fakeEmbedder()

/** The vectors of a word, turned by noise. */
async function vectorsOf(word: string, noise: number): Promise<Uint16Array> {
  const values = fromHalf(await embedder.embedPicture(pictureOf(word)))
  return toHalf(values.map((value, i) => value + noise * (i % 2 === 0 ? 1 : -1)))
}

test('the same files, files that look the same, and others', async () => {
  const collection = inMemoryCollection()
  const add = async (id: string, sha256: string, word: string, noise = 0) =>
    collection.upsert([
      { id, sha256, sizeBytes: 1, modifiedMs: 1, dateMs: 1, vectors: await vectorsOf(word, noise) },
    ])
  await add('/crab', '1', 'crab')
  await add('/crab copy', '1', 'crab')
  await add('/crab small', '2', 'crab', 0.01)
  await add('/train', '3', 'train')
  await add('/train copy', '3', 'train')
  await add('/tiger', '4', 'tiger')
  await collection.upsert([
    { id: '/bad', sha256: '5', sizeBytes: 0, modifiedMs: 1, dateMs: 1, problem: 'empty' },
  ])
  const groupsOf = async (options = {}) =>
    (await findDuplicates(collection, options)).map(({ pictures }) => pictures.map(({ id }) => id))
  expect(await groupsOf()).toEqual([
    ['/crab', '/crab copy', '/crab small'],
    ['/train', '/train copy'],
  ])
  expect(await groupsOf({ leastSimilarity: 1.1 })).toEqual([
    ['/crab', '/crab copy'],
    ['/train', '/train copy'],
  ])
  expect(await groupsOf({ filter: { under: ['/train'] } })).toEqual([['/train', '/train copy']])
  const [crabs, trains] = await findDuplicates(collection)
  expect(crabs!.similarity).toBeGreaterThan(0.98)
  expect(crabs!.similarity).toBeLessThan(1)
  expect(trains!.similarity).toBe(1)
})

test("the model's card says how alike duplicates are", async () => {
  const strict = inMemoryCollection({ ...FAKE_MODEL, duplicates: 1.1 })
  for (const [id, noise] of [
    ['/a', 0],
    ['/b', 0.01],
  ] as const) {
    const vectors = await vectorsOf('crab', noise)
    await strict.upsert([{ id, sha256: id, sizeBytes: 1, modifiedMs: 1, dateMs: 1, vectors }])
  }
  expect(await findDuplicates(strict)).toEqual([])
})
