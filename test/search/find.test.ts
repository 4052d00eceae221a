// Searches over a collection in memory, ranked by hand-made words.

import { beforeEach, describe, expect, test } from 'vitest'
import { fromHalf } from '../../src/half.ts'
import { type FindContext, find, type Search } from '../../src/search/find.ts'
import { meanVector, pictureSimilarity, textSimilarity } from '../../src/search/score.ts'
import { type FakeEmbedder, fakeEmbedder, pictureOf } from './fake.ts'
import { type InMemoryCollection, inMemoryCollection } from './in-memory.ts'

const PICTURES: Record<string, [words: string[], dateMs: number]> = {
  '/a/crab': [['crab'], 10],
  '/a/crab and tiger': [['crab', 'tiger'], 20],
  '/b/tiger': [['tiger'], 30],
  '/b/train': [['train', 'tracks'], 40],
}
let collection: InMemoryCollection
let embedder: FakeEmbedder
let context: FindContext
beforeEach(async () => {
  collection = inMemoryCollection()
  embedder = fakeEmbedder()
  context = {
    collection,
    embedder,
    pictureOf: async ({ id }) => ({ image: pictureOf(...PICTURES[id]![0]) }),
  }
  for (const [id, [words, dateMs]] of Object.entries(PICTURES)) {
    const vectors = await embedder.embedPicture(pictureOf(...words))
    await collection.upsert([{ id, sha256: id, sizeBytes: 1, modifiedMs: dateMs, dateMs, vectors }])
  }
})
const ids = async (search: Search) => (await find(context, search)).hits.map(({ picture }) => picture.id)
const codeOf = (search: Search) => find(context, search).then(String, (error) => error.code)

describe('scores', () => {
  test('by hand: the best query of a text, query by query for pictures, the mean', () => {
    // Two queries of two numbers: (1, 0) and (0, 1); halves: 0x3c00 is 1.
    const picture = Uint16Array.of(0x3c00, 0, 0, 0x3c00)
    expect(textSimilarity(picture, Float32Array.of(0.6, 0.8))).toBeCloseTo(0.8, 6)
    expect(pictureSimilarity(picture, picture, 2)).toBe(1)
    expect(pictureSimilarity(picture, Uint16Array.of(0, 0x3c00, 0x3c00, 0), 2)).toBe(0)
    expect([...meanVector(picture, 2)]).toEqual([Math.fround(Math.SQRT1_2), Math.fround(Math.SQRT1_2)])
  })

  test('a hit has the exact score and the picture without its vectors', async () => {
    const { hits, judged } = await find(context, { terms: [{ text: 'crab' }], limit: 1 })
    const [row] = await collection.read({ ids: ['/a/crab'] })
    const { vectors, ...picture } = row!
    const contrastive = textSimilarity(vectors, await embedder.embedText('crab'))
    expect(hits).toEqual([{ picture, contrastive, probability: null }])
    expect(judged).toBe(0)
    expect(fromHalf(vectors).every(Number.isFinite)).toBe(true)
  })
})

describe('terms', () => {
  test('a text, a picture and an id', async () => {
    expect((await ids({ terms: [{ text: 'crab' }] })).slice(0, 2).sort()).toEqual([
      '/a/crab',
      '/a/crab and tiger',
    ])
    expect(await ids({ terms: [{ image: pictureOf('tiger') }], limit: 1 })).toEqual(['/b/tiger'])
    const [first, second] = await ids({ terms: [{ id: '/a/crab and tiger' }] })
    expect([first, second]).toEqual(['/a/crab and tiger', '/a/crab'])
  })

  test('minus', async () => {
    expect(await ids({ terms: [{ text: 'tiger' }], minus: ['crab'], limit: 1 })).toEqual(['/b/tiger'])
    expect(await ids({ terms: [{ text: 'crab' }], minus: ['tiger'], limit: 1 })).toEqual(['/a/crab'])
  })

  test('weights shift a mix, and the score stays a mean', async () => {
    const mix = (weight: number) =>
      find(context, {
        terms: [
          { text: 'train', weight },
          { id: '/a/crab', weight: 1 },
        ],
        limit: 1,
      })
    const [towardTrain, towardCrab] = [await mix(9), await mix(0.1)]
    expect(towardTrain.hits[0]!.picture.id).toBe('/b/train')
    expect(towardCrab.hits[0]!.picture.id).toBe('/a/crab')
    for (const { hits } of [towardTrain, towardCrab]) expect(hits[0]!.contrastive).toBeLessThanOrEqual(1.001)
  })

  test('an id that is not there', async () => {
    expect(await codeOf({ terms: [{ id: '/none' }] })).toBe('not_indexed')
  })
})

test('filter, limit, offset and order', async () => {
  const terms = [{ text: 'crab' }]
  expect((await ids({ terms, filter: { under: ['/b/'] } })).sort()).toEqual(['/b/tiger', '/b/train'])
  expect((await ids({ terms, filter: { fromMs: 20, toMs: 30 } })).sort()).toEqual([
    '/a/crab and tiger',
    '/b/tiger',
  ])
  const all = await ids({ terms })
  expect(await ids({ terms, limit: 2, offset: 1 })).toEqual(all.slice(1, 3))
  // Without a cut-off the two best are put in order of time.
  expect(await ids({ terms, limit: 2, sort: 'newest' })).toEqual(['/a/crab and tiger', '/a/crab'])
  expect(await ids({ terms, limit: 2, sort: 'oldest' })).toEqual(['/a/crab', '/a/crab and tiger'])
})

describe('probability', () => {
  test('cuts off what is not about the text, down to nothing', async () => {
    const { hits, judged } = await find(context, { terms: [{ text: 'tiger' }], leastProbability: 0.5 })
    expect(hits.map(({ picture, probability }) => [picture.id, probability]).sort()).toEqual([
      ['/a/crab and tiger', 1],
      ['/b/tiger', 1],
    ])
    expect(judged).toBe(4)
    expect(await ids({ terms: [{ text: 'penguin' }], leastProbability: 0.5 })).toEqual([])
    const terms = [{ text: 'tiger' }]
    expect(await ids({ terms, leastProbability: 0.5, sort: 'newest' })).toEqual([
      '/b/tiger',
      '/a/crab and tiger',
    ])
  })

  test('needs a text', async () => {
    expect(await codeOf({ terms: [{ id: '/a/crab' }], leastProbability: 0.5 })).toBe('bad_field')
  })

  test('ranks again where it is wanted or the card says so, by logit and score', async () => {
    const terms = [{ text: 'train tracks' }]
    const { hits } = await find(context, { terms, rerank: true })
    expect(hits[0]).toMatchObject({ picture: { id: '/b/train' }, probability: 1 })
    expect(embedder.matched).toHaveLength(4)
    const helping = { ...context, embedder: fakeEmbedder(undefined, { rerankHelps: true }) }
    expect((await find(helping, { terms })).judged).toBe(4)
    expect((await find(helping, { terms, rerank: false })).judged).toBe(0)
  })

  test('what cannot be read again keeps its place behind, without a probability', async () => {
    const known = {
      ...context,
      pictureOf: async ({ id }: { id: string }) =>
        id === '/b/train' ? { image: pictureOf('train') } : undefined,
    }
    const { hits, judged } = await find(known, { terms: [{ text: 'crab' }], rerank: true })
    expect(judged).toBe(1)
    expect(hits[0]).toMatchObject({ picture: { id: '/b/train' }, probability: 0 })
    expect(hits.slice(1).map(({ probability }) => probability)).toEqual([null, null, null])
    const forgotten = { ...context, pictureOf: async ({ sha256 }: { sha256: string }) => ({ sha256 }) }
    expect((await find(forgotten, { terms: [{ text: 'crab' }], leastProbability: 0 })).hits).toEqual([])
  })

  test('without time nothing is read again', async () => {
    expect((await find(context, { terms: [{ text: 'crab' }], rerank: true, rerankMs: 0 })).judged).toBe(0)
  })
})
