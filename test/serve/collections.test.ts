// Collections over HTTP, with a model that knows words and a store in memory.

import { beforeEach, describe, expect, test } from 'vitest'
import { sha256Hex } from '../../src/hash.ts'
import { configureLog } from '../../src/observe/log.ts'
import { type AppOptions, createApp } from '../../src/serve/routes.ts'
import { fakeEmbedder, fakeEngine, pictureOf } from '../search/fake.ts'
import { inMemorySearchStore } from '../search/in-memory.ts'
import { doubleEngine } from './double.ts'

let store: ReturnType<typeof inMemorySearchStore>
let engine: ReturnType<typeof fakeEngine>
let app: ReturnType<typeof createApp>
const appWith = (options: AppOptions = {}) =>
  createApp(engine, { report: () => {}, search: async () => store, settleMs: 5, ...options })
beforeEach(() => {
  configureLog('json', { write() {} })
  store = inMemorySearchStore()
  engine = fakeEngine()
  app = appWith()
})

const PATH = '/v1/collections/photos'
const send = (method: string, path: string, body?: object, headers: Record<string, string> = {}) =>
  app.request(`${PATH}${path}`, {
    method,
    body: body && JSON.stringify(body),
    headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
  })
const put = (id: string, words: string[], more: object = {}, headers = {}) =>
  send('PUT', `/pictures/${id}`, { image: pictureOf(...words).toString('base64'), ...more }, headers)
const search = async (body: object) => {
  const response = await send('POST', '/search', body)
  expect(response.status).toBe(200)
  return (await response.json()) as { results: Record<string, unknown>[]; judged: number; model: string }
}
const idsOf = async (body: object) => (await search(body)).results.map(({ id }) => id)
const problemOf = async (response: Response | Promise<Response>) => {
  const { status, ...rest } = await response
  const { error } = (await (await response).json()) as { error: { code: string; message: string } }
  return { ...rest, status, code: error.code, message: error.message }
}

async function fill(): Promise<void> {
  await put('crab', ['crab'], { date: '2024-06-01', metadata: { by: 'Ann' } })
  await put('both', ['crab', 'tiger'], { date: '2024-06-02T12:00:00Z' })
  await put('a/tiger', ['tiger'], { date: '2024-06-03' })
}

describe('pictures', () => {
  test('are put, read, listed, replaced and removed', async () => {
    const response = await put('crab', ['crab'], { date: '2024-06-01', metadata: { by: 'Ann' } })
    const record = {
      id: 'crab',
      sha256: sha256Hex(pictureOf('crab')),
      size_bytes: pictureOf('crab').length,
      date: '2024-06-01T00:00:00.000Z',
      metadata: { by: 'Ann' },
    }
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({
      ...record,
      model: 'fake',
      timings_ms: { queue: expect.any(Number), total: expect.any(Number) },
    })
    expect(await (await send('GET', '/pictures/crab')).json()).toEqual(record)
    expect(await (await send('GET', '')).json()).toEqual({ name: 'photos', pictures: 1, model: 'fake' })
    await put('crab', ['guitar'])
    await put('b/c d.jpg', ['tiger'])
    const listed = (await (await send('GET', '/pictures?limit=1&offset=1')).json()) as {
      pictures: object[]
      total: number
    }
    expect(listed).toMatchObject({ total: 2, pictures: [{ id: 'crab', metadata: null }] })
    const below = await (await send('GET', '/pictures?prefix=b/')).json()
    expect(below).toMatchObject({ total: 1, pictures: [{ id: 'b/c d.jpg' }] })
    expect((await send('DELETE', '/pictures/b/c%20d.jpg')).status).toBe(204)
    expect(await problemOf(send('GET', '/pictures/b/c%20d.jpg'))).toMatchObject({
      status: 404,
      code: 'not_indexed',
    })
    expect(await problemOf(send('DELETE', '/pictures/none'))).toMatchObject({
      status: 404,
      code: 'not_indexed',
    })
  })

  test('as a form, and as the bare picture', async () => {
    const form = new FormData()
    form.append('image', new Blob([new Uint8Array(pictureOf('crab'))]))
    form.append('date', '2024-06-01')
    form.append('metadata', '{"by":"Ann"}')
    const formed = await app.request(`${PATH}/pictures/1`, { method: 'PUT', body: form })
    expect(await formed.json()).toMatchObject({ id: '1', metadata: { by: 'Ann' } })
    const bare = await app.request(`${PATH}/pictures/2?date=2024-06-05`, {
      method: 'PUT',
      body: new Uint8Array(pictureOf('tiger')),
      headers: { 'content-type': 'image/png' },
    })
    expect(await bare.json()).toMatchObject({ id: '2', date: '2024-06-05T00:00:00.000Z' })
  })

  test('a change settles the collection soon after', async () => {
    await fill()
    await send('DELETE', '/pictures/crab')
    await expect.poll(() => store.collections.get('photos')?.isSettled()).toBe(true)
  })

  test.each([
    ['no picture', {}, 400, 'no_picture'],
    ['text', { image: Buffer.from('a text').toString('base64') }, 415, 'not_a_picture'],
    ['an unknown field', { image: 'cGljdHVyZQ==', colour: 'red' }, 400, 'bad_field'],
    ['a date in words', { image: 'cGljdHVyZQ==', date: 'yesterday' }, 400, 'bad_field'],
    ['large metadata', { image: 'cGljdHVyZQ==', metadata: { text: 'x'.repeat(5_000) } }, 400, 'bad_field'],
  ])('%s is refused', async (_, body, status, code) => {
    expect(await problemOf(send('PUT', '/pictures/1', body))).toMatchObject({ status, code })
    expect(store.collections.get('photos')?.rows.size ?? 0).toBe(0)
  })

  test('a repeated Idempotency-Key gets the first response, another body is refused', async () => {
    const key = { 'idempotency-key': 'k1' }
    const first = await put('crab', ['crab'], {}, key)
    const again = await put('crab', ['crab'], {}, key)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await again.json()).toEqual(await first.json())
    expect(engine.answered).toHaveLength(1)
    expect(await problemOf(put('crab', ['guitar'], {}, key))).toMatchObject({ code: 'key_taken' })
    expect(await problemOf(put('other', ['crab'], {}, key))).toMatchObject({ code: 'key_taken' })
  })
})

describe('search', () => {
  beforeEach(fill)

  test('by text: best first, with records and scores', async () => {
    const { results, judged, model } = await search({ text: 'crab', limit: 2 })
    expect([judged, model]).toEqual([0, 'fake'])
    expect(results.map(({ id }) => id).sort()).toEqual(['both', 'crab'])
    expect(results.find(({ id }) => id === 'crab')).toEqual({
      id: 'crab',
      sha256: expect.any(String),
      size_bytes: 12,
      date: '2024-06-01T00:00:00.000Z',
      metadata: { by: 'Ann' },
      contrastive: expect.any(Number),
      probability: null,
    })
  })

  test('by picture and by id, with weights, minus, filters, pages and order', async () => {
    const image = pictureOf('tiger').toString('base64')
    expect(await idsOf({ image, limit: 1 })).toEqual(['a/tiger'])
    expect(await idsOf({ id: 'crab', limit: 1 })).toEqual(['crab'])
    expect(await idsOf({ text: 'crab', id: 'a/tiger', weights: { text: 0.1, id: 5 }, limit: 1 })).toEqual([
      'a/tiger',
    ])
    expect(await idsOf({ text: 'crab', minus: ['tiger'], limit: 1 })).toEqual(['crab'])
    expect(await idsOf({ text: 'crab', filter: { prefix: 'a/' } })).toEqual(['a/tiger'])
    expect(await idsOf({ text: 'crab', filter: { ids: ['both'] } })).toEqual(['both'])
    // A day is meant as a whole.
    expect(await idsOf({ text: 'crab', filter: { from: '2024-06-02', to: '2024-06-02' } })).toEqual(['both'])
    const all = await idsOf({ text: 'crab' })
    expect(await idsOf({ text: 'crab', limit: 1, offset: 1 })).toEqual([all[1]])
    expect(await idsOf({ text: 'crab', sort: 'newest' })).toEqual(['a/tiger', 'both', 'crab'])
  })

  test('nothing passes a cut-off where the engine has forgotten the pictures', async () => {
    expect(await search({ text: 'crab', least_probability: 0.1 })).toMatchObject({ results: [], judged: 0 })
  })

  test.each([
    ['nothing to search by', {}, 400, 'no_question'],
    ['an id that is not there', { id: 'none' }, 404, 'not_indexed'],
    ['an unknown field', { text: 'crab', top_k: 3 }, 400, 'bad_field'],
    ['too many hits', { text: 'crab', limit: 1_000 }, 400, 'bad_field'],
    ['a cut-off without a text', { id: 'crab', least_probability: 0.5 }, 400, 'bad_field'],
  ])('%s is refused', async (_, body, status, code) => {
    expect(await problemOf(send('POST', '/search', body))).toMatchObject({ status, code })
  })
})

describe('collections', () => {
  test('are listed and removed', async () => {
    await fill()
    const list = async () => (await (await app.request('/v1/collections')).json()) as object
    expect(await list()).toEqual({ collections: [{ name: 'photos', pictures: 3, model: 'fake' }] })
    expect((await send('DELETE', '')).status).toBe(204)
    expect(await list()).toEqual({ collections: [] })
    for (const response of [
      send('GET', ''),
      send('GET', '/pictures'),
      send('POST', '/search', { text: 'crab' }),
    ]) {
      expect(await problemOf(response)).toMatchObject({ status: 404, code: 'no_collection' })
    }
  })

  test.each([
    ['POST', ''],
    ['GET', '/search'],
    ['PUT', '/pictures'],
    ['POST', '/pictures/1'],
  ])('%s is no method of photos%s', async (method, path) => {
    expect(await problemOf(send(method, path))).toMatchObject({ status: 405, code: 'wrong_method' })
  })

  test('a name with other characters is refused', async () => {
    expect(await problemOf(app.request('/v1/collections/a%20b'))).toMatchObject({
      status: 400,
      code: 'bad_field',
    })
  })

  test("another model's collection is refused for writing and for searching", async () => {
    await fill()
    engine = fakeEngine(fakeEmbedder({ key: 'fake-2', name: 'other', count: 4, width: 32 }))
    app = appWith()
    expect(await problemOf(put('new', ['crab']))).toMatchObject({ status: 500, code: 'other_model' })
    expect(await problemOf(send('POST', '/search', { text: 'crab' }))).toMatchObject({ code: 'other_model' })
    expect(store.collections.get('photos')?.rows.size).toBe(3)
  })

  test('a model that does not match is refused as for other tasks', async () => {
    app = createApp(doubleEngine(), { report: () => {}, search: async () => store })
    expect(await problemOf(put('1', ['crab']))).toMatchObject({ status: 422, code: 'no_task' })
  })

  test('a token is needed where one is set', async () => {
    app = appWith({ token: 'secret' })
    expect((await app.request('/v1/collections')).status).toBe(401)
    expect((await put('1', ['crab'])).status).toBe(401)
    expect((await put('1', ['crab'], {}, { authorization: 'Bearer secret' })).status).toBe(200)
  })

  test('requests that need the model wait for a turn, and are refused when too many wait', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const { answer } = engine
    engine.answer = (async (...given: Parameters<typeof answer>) => {
      await held
      return await answer(...given)
    }) as typeof answer
    app = appWith({ maxQueue: 1, concurrency: 1 })
    const sent = Array.from({ length: 4 }, (_, i) => put(String(i), ['crab', `word${i}`]))
    const refused = await Promise.race(sent)
    expect(await problemOf(refused)).toMatchObject({ status: 429, code: 'busy' })
    release()
    expect((await Promise.all(sent)).map(({ status }) => status).sort()).toEqual([200, 200, 429, 429])
  })
})
