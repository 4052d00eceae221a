// POST /v1/embeddings, /v1/rerank, /v1/classify on a fixture checkpoint: the shapes that clients know, and what is refused.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { type ClientOptions } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { type Engine, startEngine } from '../../src/engine/engine.ts'
import { createApp } from '../../src/serve/routes.ts'
import { FIXTURES } from '../fixtures.ts'

const TEXTS = ['a cat', 'a dog on the table']
let room: string
let engine: Engine
let app: ReturnType<typeof createApp>
let urls: string[]
let images: Buffer[]

beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  const artifact = join(room, 'itm')
  await buildArtifact(join(FIXTURES, 'checkpoints/itm'), artifact, { precision: 'fp32', trial: false })
  engine = await startEngine({ artifact, threads: 1, maxBatch: 8 })
  app = createApp(engine, { report: () => {}, token: 'secret' })
  const names = ['disc-40x30.png', 'triangle-33x57.png']
  images = await Promise.all(names.map((name) => readFile(join(FIXTURES, 'references', name))))
  urls = images.map((bytes) => `data:image/png;base64,${bytes.toString('base64')}`)
})
afterAll(async () => {
  await engine.close()
  await rm(room, { recursive: true })
})

const post = async (path: string, body: unknown, headers: HeadersInit = {}) => {
  const response = await app.request(path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', authorization: 'Bearer secret', ...headers },
  })
  // biome-ignore lint/suspicious/noExplicitAny: each test checks the shape of its response.
  return { status: response.status, headers: response.headers, body: (await response.json()) as any }
}
const product = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0)
const match = async (image: Buffer, texts = TEXTS) =>
  (await engine.answer<'match'>({ task: 'match', image, texts })).matches

describe('embeddings', () => {
  test('texts, as of OpenAI', async () => {
    const { status, body } = await post('/v1/embeddings', { model: 'any', input: TEXTS })
    expect(status).toBe(200)
    expect(body).toMatchObject({ object: 'list', model: 'itm', usage: { prompt_tokens: expect.any(Number) } })
    expect(body.data.map(({ object, index }: { object: string; index: number }) => [object, index])).toEqual([
      ['embedding', 0],
      ['embedding', 1],
    ])
    expect(product(body.data[0].embedding, body.data[0].embedding)).toBeCloseTo(1, 5)
    const one = await post('/v1/embeddings', { input: TEXTS[1], encoding_format: 'base64' })
    const bytes = new Uint8Array(Buffer.from(one.body.data[0].embedding, 'base64'))
    expect([...new Float32Array(bytes.buffer)]).toEqual(body.data[1].embedding)
  })

  test('pictures: all vectors give the contrastive score, one is their mean', async () => {
    const input = [{ image: urls[0] }, { text: TEXTS[0] }, { image: images[1]!.toString('base64') }]
    const many = await post('/v1/embeddings', { input, return_multivector: true })
    const [picture, text, other] = many.body.data.map(({ embedding }: { embedding: number[][] }) => embedding)
    expect([picture.length, text.length]).toEqual([6, 1])
    const score = Math.max(...picture.map((row: number[]) => product(row, text[0])))
    const [first] = await match(images[0]!, [TEXTS[0]!])
    expect(score).toBeCloseTo(first!.contrastive, 5)
    expect(other).not.toEqual(picture)
    const mean = (await post('/v1/embeddings', { input })).body.data[0].embedding
    expect(product(mean, mean)).toBeCloseTo(1, 5)
  })

  test('a message of vLLM', async () => {
    const content = [{ type: 'image_url', image_url: { url: urls[0] } }]
    const { body } = await post('/v1/embeddings', { messages: [{ role: 'user', content }] })
    const same = await post('/v1/embeddings', { input: [{ image: urls[0] }] })
    expect(body.data).toEqual(same.body.data)
  })

  test('to the unmodified SDK of OpenAI, its errors too', async () => {
    const fetch: ClientOptions['fetch'] = async (url, init) => app.request(String(url), init as RequestInit)
    const openai = new OpenAI({ baseURL: 'http://localhost/v1', apiKey: 'secret', maxRetries: 0, fetch })
    const { data, usage } = await openai.embeddings.create({ model: 'any', input: TEXTS })
    // The SDK asks for base64 and reads it as float32.
    expect(product(data[1]!.embedding, data[1]!.embedding)).toBeCloseTo(1, 5)
    expect(usage.total_tokens).toBeGreaterThan(0)
    const refused = await openai.embeddings
      .create({ model: 'any', input: 'a', dimensions: 3 })
      .catch((error) => error)
    expect(refused).toBeInstanceOf(OpenAI.BadRequestError)
    expect(refused).toMatchObject({ code: 'bad_field', type: 'invalid_request_error', param: null })
    const stranger = new OpenAI({ baseURL: 'http://localhost/v1', apiKey: 'other', maxRetries: 0, fetch })
    await expect(stranger.embeddings.create({ model: 'any', input: 'a' })).rejects.toBeInstanceOf(
      OpenAI.AuthenticationError,
    )
  })

  test('errors have the form of OpenAI', async () => {
    const { status, body } = await post('/v1/embeddings', { input: ['a'], dimensions: 3 })
    expect(status).toBe(400)
    expect(body.error).toMatchObject({ type: 'invalid_request_error', code: 'bad_field' })
    expect(body.error.message).toMatch(/Expected dimensions 10/)
  })
})

describe('rerank', () => {
  test('pictures for a text, best first', async () => {
    const documents = urls.map((image) => ({ image }))
    const { body } = await post('/v1/rerank', { query: TEXTS[0], documents })
    const probabilities = await Promise.all(
      images.map(async (image) => (await match(image, [TEXTS[0]!]))[0]!.probability!),
    )
    const order = body.results.map(({ index }: { index: number }) => index)
    expect(order).toEqual(probabilities[0]! > probabilities[1]! ? [0, 1] : [1, 0])
    for (const { index, relevance_score } of body.results)
      expect(relevance_score).toBeCloseTo(probabilities[index]!, 5)
    const top = await post('/v1/rerank', { query: TEXTS[0], documents, top_n: 1, rank_by: 'contrastive' })
    expect(top.body.results).toHaveLength(1)
  })

  test('texts for a picture, with the documents', async () => {
    const query = { image: urls[0] }
    const { body } = await post('/v1/rerank', {
      query,
      documents: [...TEXTS, TEXTS[0]],
      return_documents: true,
    })
    const matches = await match(images[0]!)
    expect(body.results).toHaveLength(3)
    for (const { document, relevance_score } of body.results)
      expect(relevance_score).toBeCloseTo(matches.find(({ text }) => text === document.text)!.probability!, 5)
  })

  test('two texts, or two pictures, cannot be compared', async () => {
    for (const body of [
      { query: 'a', documents: ['b'] },
      { query: { image: urls[0] }, documents: [{ image: urls[1] }] },
    ]) {
      const refused = await post('/v1/rerank', body)
      expect(refused.status).toBe(400)
      expect(refused.body.error.code).toBe('bad_field')
    }
  })
})

test('classify: predictions of all labels, best first, through a template', async () => {
  const input = urls.map((image) => ({ image }))
  const { body } = await post('/v1/classify', { input, labels: ['cat', 'dog'], template: 'a {}' })
  expect(body.data.map(({ index }: { index: number }) => index)).toEqual([0, 1])
  for (const [i, { prediction, score, predictions }] of body.data.entries()) {
    expect(predictions[0]).toEqual({ label: prediction, score })
    const matches = await match(images[i]!, ['a cat', 'a dog'])
    for (const one of predictions)
      expect(one.score).toBeCloseTo(matches.find(({ text }) => text === `a ${one.label}`)!.contrastive, 5)
  }
  const many = Array.from({ length: 130 }, (_, i) => `thing ${i}`)
  const all = await post('/v1/classify', { input: [input[0]], labels: many })
  expect(all.body.data[0].predictions).toHaveLength(130)
})

describe('as for answers:', () => {
  test('a repeated Idempotency-Key gets the same answer, and another body is refused', async () => {
    const headers = { 'idempotency-key': 'k' }
    const first = await post('/v1/embeddings', { input: 'a cat' }, headers)
    const again = await post('/v1/embeddings', { input: 'a cat' }, headers)
    expect(again.body).toEqual(first.body)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect((await post('/v1/embeddings', { input: 'a dog' }, headers)).status).toBe(422)
  })

  test('the token, addresses, limits and other content types', async () => {
    expect((await post('/v1/rerank', {}, { authorization: 'Bearer other' })).status).toBe(401)
    const refusals = await Promise.all([
      post('/v1/embeddings', { input: [{ image: 'https://example.org/a.png' }] }),
      post('/v1/embeddings', { input: Array.from({ length: 129 }, () => 'a') }),
      post('/v1/embeddings', { input: [{ image: 'data:image/png;base64,@@' }] }),
      post('/v1/classify', { input: ['a text'], labels: ['a', 'b'] }),
      post('/v1/rerank', { query: 'a' }),
      post('/v1/embeddings', { input: 'a' }, { 'content-type': 'text/plain' }),
      post('/v1/embeddings', { input: 'dog '.repeat(100) }),
    ])
    expect(refusals.map(({ body }) => body.error.code)).toEqual([
      'picture_forbidden',
      'bad_field',
      'bad_base64',
      'bad_field',
      'bad_field',
      'wrong_type',
      'text_too_long',
    ])
  })
})
