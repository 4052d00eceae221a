// A third task added by one row of src/engine/tasks.ts: a route, /invocations, remote engines, the queue's messages and the
// model process carry its request and its result.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import type { ChatReply } from '../../src/chat/compose.ts'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import { type Engine, type Hooks, startEngine } from '../../src/engine/engine.ts'
import type { BaseResult } from '../../src/engine/request.ts'
import { sha256Hex } from '../../src/hash.ts'
import { configureLog } from '../../src/observe/log.ts'
import { questionHandler } from '../../src/queue/handler.ts'
import { openHttpEngine } from '../../src/remote/http.ts'
import { createApp } from '../../src/serve/routes.ts'
import { inMemoryStore, testLimiter } from '../chat/in-memory-store.ts'
import { inMemoryQueue } from '../queue/in-memory.ts'
import { type EndpointDouble, openEndpoint, startEndpoint } from '../remote/endpoint-double.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'

vi.mock('../../src/engine/tasks.ts', async (original) => {
  const tasks = await original<typeof import('../../src/engine/tasks.ts')>()
  const { addEcho } = await import('./echo-task.mjs')
  addEcho(tasks)
  return tasks
})

const MODEL_PROCESS = new URL('./echo-model-process.mjs', import.meta.url)
const PICTURE = join(import.meta.dirname, '../../models/demo/crab-and-helicopter.png')
let folder: string
let image: Uint8Array
/** Has the task; `plain` is the same model without it. */
let engine: Engine
let plain: Engine
let app: ReturnType<typeof createApp>
let s3: S3Double
let endpoint: EndpointDouble
let server: Server

beforeAll(async () => {
  configureLog('json', { write() {} })
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  image = await readFile(PICTURE)
  const artifact = await embeddedArtifact(folder)
  const withEcho = join(folder, 'with-echo')
  await cp(artifact, withEcho, { recursive: true })
  const manifest = JSON.parse(await readFile(join(withEcho, 'manifest.json'), 'utf8'))
  manifest.tasks.push('echo')
  await writeFile(join(withEcho, 'manifest.json'), JSON.stringify(manifest))
  engine = await startEngine({ artifact: withEcho, threads: 1, maxBatch: 8, warmUp: true }, MODEL_PROCESS)
  plain = await startEngine({ artifact, threads: 1 }, MODEL_PROCESS)
  app = createApp(engine, { report: () => {} })
  s3 = await startS3Double()
  endpoint = await startEndpoint(s3, app)
  server = await new Promise<Server>((resolve) => {
    const started = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () =>
      resolve(started as Server),
    )
  })
})
afterAll(async () => {
  server.close()
  s3.close()
  endpoint.close()
  await Promise.all([engine.close(), plain.close()])
  await rm(folder, { recursive: true })
})

interface EchoFields {
  task?: string
  image?: Uint8Array
  picture?: string
  word?: unknown
  times?: number
  tags?: string[]
}
/** TypeScript knows only the rows that are in the file. */
const ask = async (to: Engine, fields: EchoFields, hooks?: Hooks) =>
  (await to.answer({ task: 'echo', ...fields } as never, hooks)) as BaseResult
const post = (path: string, body: BodyInit, headers: HeadersInit = {}) =>
  app.request(path, { method: 'POST', body, headers })
const json = (path: string, body: object) =>
  post(path, JSON.stringify(body), { 'content-type': 'application/json' })
const form = (fields: Record<string, string>) => {
  const data = new FormData()
  data.append('image', new Blob([image as BlobPart]))
  for (const [name, value] of Object.entries(fields)) data.append(name, value)
  return data
}
const base64 = () => Buffer.from(image).toString('base64')
/** The task's own part of the result. */
const own = (word: string, times: number, tags: string[] = []) => ({
  text: new Array(times).fill(word).join(' '),
  echoed: new Array(times).fill(word),
  embeddings: [1, expect.any(Number), expect.any(Number)],
  tags,
})
const problemOf = async (response: Response) => {
  const { error } = (await response.json()) as { error: { code: string; message: string } }
  return { status: response.status, ...error }
}

test('the model process', async () => {
  const pieces: string[] = []
  const result = await ask(engine, { image, word: 'oh', times: 3 }, { onToken: (text) => pieces.push(text) })
  expect(result).toEqual({
    ...own('oh', 3),
    model: 'glimpse-pico',
    picture: sha256Hex(image),
    timings_ms: expect.objectContaining({ total: expect.any(Number) }),
  })
  expect(pieces).toEqual(['oh ', 'oh ', 'oh '])
})

test('a batch with captions and answers', async () => {
  const [echoed, caption, answer] = await Promise.all([
    ask(engine, { image, word: 'oh' }),
    engine.answer({ image }),
    engine.answer({ image, question: 'what is on the left?' }),
  ])
  expect(echoed).toMatchObject(own('oh', 2))
  expect(caption.text).toBe('a crab to the left of a helicopter on a yellow background')
  expect(answer.text).toBe('a crab')
})

describe('HTTP', () => {
  test('its own route, in JSON and as a form, whose text stays text', async () => {
    const replies = await Promise.all([
      json('/v1/echo', { image: base64(), word: '42', times: 1, tags: ['a'] }),
      json('/v1/echo', { image: base64(), word: '42', times: 1, tags: ['a'], task: 'echo' }),
      post('/v1/echo', form({ word: '42', times: '1', tags: '["a"]' })),
    ])
    for (const reply of replies) {
      expect(reply.status).toBe(200)
      expect(await reply.json()).toMatchObject(own('42', 1, ['a']))
    }
  })

  test('/invocations, in JSON, as a form and for a bare picture', async () => {
    const type = { 'content-type': 'image/png' }
    const replies = await Promise.all([
      json('/invocations', { image: base64(), word: 'true', task: 'echo' }),
      post('/invocations', form({ word: 'true', task: 'echo' })),
      post('/invocations?task=echo&word=true', image as BodyInit, type),
    ])
    for (const reply of replies) {
      expect(reply.status).toBe(200)
      expect(await reply.json()).toMatchObject(own('true', 2))
    }
  })

  test('as a stream', async () => {
    const reply = await json('/v1/echo', { image: base64(), word: 'oh', stream: true })
    const events = (await reply.text()).split('\n\n').filter((event) => event.startsWith('event: '))
    expect(events.map((event) => event.split('\n')[0])).toEqual([
      'event: token',
      'event: token',
      'event: reply',
    ])
    expect(JSON.parse(events.at(-1)!.split('data: ')[1]!)).toMatchObject(own('oh', 2))
  })

  test('its fields are checked, and those of others refused', async () => {
    const refusals = await Promise.all(
      [
        { image: base64() },
        { image: base64(), word: 7 },
        { image: base64(), word: 'oh', times: 4 },
        { image: base64(), word: 'oh', question: 'what?' },
        { image: base64(), word: 'oh', task: 'caption' },
        { image: base64(), word: 'oh', colour: 'red' },
      ].map(async (body) => problemOf(await json('/v1/echo', body))),
    )
    for (const refusal of refusals) expect(refusal).toMatchObject({ status: 400, code: 'bad_field' })
    expect(refusals.map(({ message }) => message)).toEqual([
      expect.stringContaining('word: '),
      expect.stringContaining('word: '),
      expect.stringContaining('times: '),
      'POST /v1/echo takes no question. Send it to POST /v1/answer.',
      'POST /v1/echo takes no requests for the task caption. Send it to POST /v1/caption.',
      expect.stringMatching(/"colour".*Known fields: image, upload, picture, stream, word, times, tags\./),
    ])
    // The picture alone is no request of this task.
    const bare = await post('/v1/echo', image as BodyInit, { 'content-type': 'image/png' })
    expect(await problemOf(bare)).toMatchObject({ status: 415, code: 'wrong_type' })
  })
})

describe('remote engines', () => {
  const http = () =>
    openHttpEngine({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      token: '',
      deadlineMs: 600_000,
    })
  const sagemaker = () => openEndpoint(s3, endpoint)

  test.each([
    ['HTTP', http],
    ['SageMaker', sagemaker],
  ])('%s', async (_, open) => {
    const remote = open()
    expect(await ask(remote, { image, word: 'oh', times: 1, tags: ['b'] })).toMatchObject({
      ...own('oh', 1, ['b']),
      model: 'glimpse-pico',
      picture: sha256Hex(image),
    })
    await expect(ask(remote, { image, word: 'much too long a word for this' })).rejects.toMatchObject({
      code: 'bad_field',
    })
    await remote.close()
  })

  test('an answer that is none of this task is refused', async () => {
    const odd = createApp({ ...plain, answer: (async () => plain.answer({ image })) as never })
    const own = await startEndpoint(s3, odd)
    await expect(ask(openEndpoint(s3, own), { image, word: 'oh' })).rejects.toMatchObject({
      code: 'engine_failed',
    })
    own.close()
  })
})

describe('a chat question in the queue', () => {
  const posted: ChatReply[] = []
  const platform: Platform = {
    name: 'test',
    localeOf: async () => undefined,
    parentPictures: async () => ({ pictures: [] }),
    fetchPicture: async () => image,
    startTyping: async () => {},
    stopTyping: async () => {},
    async post(_, reply) {
      posted.push(reply)
      return [{ id: 'reply' }]
    },
    findPosted: async () => undefined,
    deleteReply: async () => {},
  }
  const question = (request: Question['request']): Question => ({
    id: '1',
    platform: 'test',
    trigger: 'mention',
    asker: { id: 'ann' },
    owner: 'ann',
    text: '',
    request,
    pictures: [{ id: 'p', url: 'https://x/' }],
    conversations: ['1'],
    channel: 'c',
    askedAt: Date.now(),
    route: {},
  })

  /** What was posted for the question, and whether the queue gave up on it. */
  async function answered(request: Question['request']) {
    posted.length = 0
    const store = inMemoryStore()
    const processor = openProcessor({
      engine: Promise.resolve(engine),
      store,
      platforms: [platform],
      rateLimiter: testLimiter({ perMinute: 4, perHour: 20 }),
      preferences: openPreferences(store),
      maxQueue: 8,
      keepMs: 1_000_000,
      report: () => {},
      now: Date.now,
      sleep: async () => {},
    })
    const queue = inMemoryQueue()
    const consumer = queue.consume(questionHandler(processor))
    await queue.send(
      { kind: 'question', question: question(request) },
      { deduplicationId: '1', groupId: 'c' },
    )
    await expect.poll(() => posted.length + queue.deadLetters.length).toBe(1)
    await consumer.stop(60_000)
    return { texts: posted.flatMap(({ parts }) => parts.map(({ text, kind }) => `${kind}: ${text}`)), queue }
  }

  test('is answered', async () => {
    const { texts } = await answered({ task: 'echo', fields: { word: 'oh', times: 3 } })
    expect(texts).toEqual(['answer: oh oh oh'])
  })

  test.each([
    ['of no task', { task: 'levitation', fields: {} }],
    ['of other fields', { task: 'echo', fields: { word: 'oh', colour: 'red' } }],
  ])('%s is poison', async (_, request) => {
    const { texts, queue } = await answered(request)
    expect(texts).toEqual([])
    expect(queue.deadLetters).toHaveLength(1)
  })
})

test('a model without the task refuses it', async () => {
  const refusing = createApp(plain, { report: () => {} })
  const body = JSON.stringify({ image: base64(), word: 'oh' })
  const headers = { 'content-type': 'application/json' }
  const refused = await problemOf(await refusing.request('/v1/echo', { method: 'POST', body, headers }))
  expect(refused).toMatchObject({ status: 422, code: 'no_task' })
  expect(refused.message).toMatch(/glimpse-pico \(caption, answer, features, match\) but got echo/)
  await expect(ask(plain, { image, word: 'oh' })).rejects.toMatchObject({ code: 'no_task' })
  expect((await plain.answer({ image })).text).toBe(
    'a crab to the left of a helicopter on a yellow background',
  )
})
