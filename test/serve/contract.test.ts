// What platforms and clients rely on: health, tokens, ids, idempotency, refusals. routes.test.ts tests inference requests.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { serverOptions } from '../../src/app/server.ts'
import { readConfig } from '../../src/config.ts'
import { BusyError, UpstreamError } from '../../src/errors.ts'
import { configureLog } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import type { Problem } from '../../src/serve/problem.ts'
import { type AppOptions, createApp } from '../../src/serve/routes.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { measured } from '../measured.ts'
import { CAPTION, doubleEngine, PNG } from './double.ts'

const base64 = Buffer.from(PNG).toString('base64')
const TOKEN = 'token-of-this-test'
let lines: Record<string, unknown>[]

beforeEach(() => {
  lines = []
  configureLog('json', { write: (line) => void lines.push(JSON.parse(line)) })
  resetMetrics()
})

function serve(options: AppOptions = {}) {
  const engine = doubleEngine()
  const app = createApp(engine, options)
  const send = async (path: string, init?: RequestInit) =>
    await app.fetch(new Request(`http://localhost:8080${path}`, init))
  const ask = (path: string, body: unknown = { image: base64 }, headers: Record<string, string> = {}) =>
    send(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
  return { engine, app, send, ask }
}

const problem = async (response: Response) => ((await response.json()) as Problem).error

describe('health', () => {
  const READY = ['/ping', '/readyz', '/v2/health/ready']

  test('is served under every platform’s path, for any Host and without a token', async () => {
    const { send } = serve({ token: TOKEN })
    const headers = { host: 'probe.internal' }
    for (const path of READY) {
      const response = await send(path, { headers })
      expect(response.status).toBe(200)
      expect(await response.json()).toEqual({ ready: true, model: 'double', load: 0 })
    }
    for (const path of ['/healthz', '/v2/health/live'])
      expect((await send(path, { headers })).status).toBe(200)
  })

  test('is live but not ready while the model loads', async () => {
    const app = createApp(new Promise<never>(() => {}))
    for (const path of READY) expect((await app.request(path)).status).toBe(503)
    for (const path of ['/healthz', '/v2/health/live']) expect((await app.request(path)).status).toBe(200)
  })

  test('is logged only when a probe fails', async () => {
    await serve().send('/ping')
    expect(lines).toEqual([])
    await createApp(new Promise<never>(() => {})).request('/ping')
    expect(lines).toMatchObject([{ event: 'request', route: '/ping', status: 503 }])
  })
})

describe('POST /invocations', () => {
  test('answers when there is a question and captions when there is none, from any body', async () => {
    const { send, ask, engine } = serve()
    expect(await (await ask('/invocations')).json()).toMatchObject({ text: CAPTION })
    const answered = await ask('/invocations', { image: base64, question: 'What?' })
    expect(await answered.json()).toMatchObject({ text: 'answer 1 to What?' })
    const blank = await ask('/invocations', { image: base64, question: ' ' })
    expect(await blank.json()).toMatchObject({ text: CAPTION })
    const form = new FormData()
    form.append('image', new Blob([PNG as BlobPart]))
    form.append('question', 'Who?')
    const fromForm = await send('/invocations', { method: 'POST', body: form })
    expect(await fromForm.json()).toMatchObject({ text: 'answer 1 to Who?' })
    for (const type of ['image/png', 'application/octet-stream']) {
      const init = { method: 'POST', body: PNG as BodyInit, headers: { 'content-type': type } }
      expect(await (await send('/invocations', init)).json()).toMatchObject({ text: CAPTION })
    }
    expect(engine.asks).toHaveLength(6)
    expect(await measured('glimpse_requests_total', { task: 'caption', outcome: 'ok' })).toBe(4)
    expect(await measured('glimpse_requests_total', { task: 'answer', outcome: 'ok' })).toBe(2)
  })

  test('with a history and no question says that there is none', async () => {
    const response = await serve().ask('/invocations', { image: base64, history: [] })
    expect(await problem(response)).toMatchObject({ code: 'no_question' })
  })

  test('has the id that SageMaker gave it', async () => {
    const { ask } = serve()
    const id = async (headers: Record<string, string>) =>
      (await ask('/invocations', undefined, headers)).headers.get('x-request-id')
    expect(await id({ 'x-amzn-sagemaker-inference-id': 'inference-1' })).toBe('inference-1')
    expect(await id({ 'x-amzn-sagemaker-custom-attributes': 'trace=7' })).toBe('trace=7')
    expect(await id({ 'x-amzn-sagemaker-custom-attributes': 'a b; c' })).toMatch(/^[\da-f-]{36}$/)
  })
})

describe('the token', () => {
  const PATHS = ['/v1/caption', '/v1/answer', '/invocations']

  test('is required for inference, the model and metrics, and nothing runs without it', async () => {
    const { ask, send, engine } = serve({ token: TOKEN })
    const refused = [
      ...(await Promise.all(PATHS.map((path) => ask(path)))),
      await send('/v1/model'),
      await send('/metrics'),
      await send('/v1/model', { headers: { authorization: `Basic ${TOKEN}` } }),
    ]
    for (const response of refused) {
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer /)
      expect(await problem(response)).toMatchObject({ code: 'no_token', retry: false })
    }
    const wrong = await ask('/v1/caption', undefined, { authorization: 'Bearer token-of-this-tesT' })
    expect([wrong.status, (await problem(wrong)).code]).toEqual([401, 'bad_token'])
    expect(engine.asks).toEqual([])
    expect(await measured('glimpse_rejected_total', { reason: 'no_token' })).toBe(6)
    expect(await measured('glimpse_rejected_total', { reason: 'bad_token' })).toBe(1)
  })

  test('gives access, with any Host', async () => {
    const { ask, send } = serve({ token: TOKEN })
    const headers = { authorization: `Bearer ${TOKEN}`, host: 'glimpse-abc.a.run.app' }
    expect((await ask('/v1/caption', undefined, headers)).status).toBe(200)
    expect((await send('/metrics', { headers })).status).toBe(200)
  })

  test('is not required for the page’s files and chat webhooks', async () => {
    const { send } = serve({
      token: TOKEN,
      handlers: { '/slack/events': async () => new Response('received') },
    })
    expect((await send('/')).status).toBe(200)
    expect((await send('/api.js')).status).toBe(200)
    expect(await (await send('/slack/events', { method: 'POST', body: '' })).text()).toBe('received')
  })

  test('that is required and not set refuses all requests, and says what to set', async () => {
    const { ask, send, engine } = serve({ requireToken: true })
    for (const response of [
      ...(await Promise.all(PATHS.map((path) => ask(path)))),
      await send('/v1/model'),
    ]) {
      expect(response.status).toBe(500)
      expect(await problem(response)).toMatchObject({
        code: 'no_api_token',
        message: expect.stringMatching('GLIMPSE_API_TOKEN'),
      })
    }
    expect(engine.asks).toEqual([])
    expect((await send('/healthz')).status).toBe(200)
    expect(await measured('glimpse_faults_total', { code: 'no_api_token' })).toBe(4)
  })
})

describe('a request', () => {
  test('keeps its id, or gets one, in the response, in its error and in the log', async () => {
    const { ask } = serve()
    const good = await ask('/v1/caption', undefined, { 'x-request-id': 'my-id:1' })
    expect(good.headers.get('x-request-id')).toBe('my-id:1')
    const bad = await ask('/v1/caption', {}, { 'x-request-id': 'not an id' })
    const made = bad.headers.get('x-request-id')
    expect(made).toMatch(/^[\da-f-]{36}$/)
    expect((await problem(bad)).request_id).toBe(made)
    expect(lines).toMatchObject([
      { request_id: 'my-id:1', status: 200 },
      { request_id: made, status: 400 },
    ])
  })

  test('is one line: method, route, status and time, never its query', async () => {
    const { send } = serve()
    const headers = { 'content-type': 'image/png' }
    await send('/v1/caption?prompt=a%20secret', { method: 'POST', body: PNG as BodyInit, headers })
    await send('/a/secret')
    expect(lines).toMatchObject([
      { level: 'info', event: 'request', method: 'POST', route: '/v1/caption', status: 200 },
      { level: 'info', event: 'request', method: 'GET', route: 'unknown', status: 404 },
    ])
    expect(JSON.stringify(lines)).not.toMatch('secret')
  })

  test('gets the time of each stage', async () => {
    const { headers } = await serve().ask('/v1/caption')
    expect(headers.get('server-timing')).toMatch(
      /^queue;dur=[\d.]+, image;dur=3, pixels;dur=5, vision;dur=140/,
    )
  })

  test('continues the trace of its client', async () => {
    const exporter = new InMemorySpanExporter()
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
    )
    propagation.setGlobalPropagator(new W3CTraceContextPropagator())
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    try {
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await serve().ask('/v1/caption', undefined, { traceparent })
      const [span] = exporter.getFinishedSpans()
      expect(span).toMatchObject({
        name: 'POST /v1/caption',
        parentSpanContext: { spanId: 'b7ad6b7169203331' },
        attributes: { 'http.response.status_code': 200 },
      })
      expect(lines).toMatchObject([{ trace_id: '0af7651916cd43dd8448eb211c80319c' }])
    } finally {
      trace.disable()
      propagation.disable()
      context.disable()
    }
  })
})

describe('Idempotency-Key', () => {
  const key = { 'idempotency-key': 'key-1' }

  test('the same request again has the same reply, and the model runs once', async () => {
    const { ask, engine } = serve()
    const first = await ask('/v1/caption', undefined, key)
    const second = await ask('/v1/caption', undefined, key)
    expect(await second.json()).toEqual(await first.json())
    expect([first, second].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true'])
    expect(engine.asks).toHaveLength(1)
    expect(await measured('glimpse_http_replays_total')).toBe(1)
  })

  test('as a form too, with another boundary each time', async () => {
    const { send, engine } = serve()
    const form = () => {
      const data = new FormData()
      data.append('image', new Blob([PNG as BlobPart]))
      return { method: 'POST', body: data, headers: key }
    }
    await send('/v1/caption', form())
    expect((await send('/v1/caption', form())).headers.get('idempotent-replayed')).toBe('true')
    expect(engine.asks).toHaveLength(1)
  })

  test('another request with the same key is refused, during the first and afterwards', async () => {
    const { ask, engine } = serve()
    engine.hold()
    const first = ask('/v1/answer', { image: base64, question: 'a?' }, key)
    const other = ask('/v1/answer', { image: base64, question: 'b?' }, key)
    await expect.poll(() => engine.pending).toBe(1)
    engine.release()
    expect((await first).status).toBe(200)
    const refused = await other
    expect([refused.status, (await problem(refused)).code]).toEqual([422, 'key_taken'])
    expect(await measured('glimpse_rejected_total', { reason: 'key_taken' })).toBe(1)
  })

  test('the second waits for the first, and a failed request runs again', async () => {
    const { ask, engine } = serve()
    engine.hold()
    const both = [ask('/v1/caption', undefined, key), ask('/v1/caption', undefined, key)]
    await expect.poll(() => engine.pending).toBe(1)
    engine.release()
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([200, 200])
    expect(engine.asks).toHaveLength(1)

    const other = { 'idempotency-key': 'key-2' }
    engine.fail(new BusyError('restarting', 'words'))
    expect((await ask('/v1/caption', undefined, other)).status).toBe(503)
    engine.fail(undefined)
    const again = await ask('/v1/caption', undefined, other)
    expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, null])
  })

  test('the second is answered when the first client disconnects', async () => {
    const { app, ask, engine } = serve()
    engine.hold()
    const client = new AbortController()
    const init = { method: 'POST', body: JSON.stringify({ image: base64 }), signal: client.signal }
    const headers = { 'content-type': 'application/json', ...key }
    const first = app.fetch(new Request('http://localhost/v1/caption', { ...init, headers }))
    await expect.poll(() => engine.pending).toBe(1)
    const second = ask('/v1/caption', undefined, key)
    client.abort()
    expect((await first).status).toBe(499)
    engine.release()
    expect((await second).status).toBe(200)
  })

  test('is separate for each tenant', async () => {
    const { ask, engine } = serve({ token: TOKEN })
    const of = (tenant: string) => ({
      ...key,
      authorization: `Bearer ${TOKEN}`,
      'x-glimpse-tenant': tenant,
    })
    await ask('/v1/answer', { image: base64, question: 'a?' }, of('a'))
    expect((await ask('/v1/answer', { image: base64, question: 'b?' }, of('b'))).status).toBe(200)
    expect(engine.asks).toHaveLength(2)
  })

  test('holds between processes that share a store', async () => {
    const store = inMemoryStore()
    const shared = { store: async () => store }
    const [one, two, three] = [serve(shared), serve(shared), serve(shared)]
    one.engine.hold()
    const first = one.ask('/v1/caption', undefined, key)
    await expect.poll(() => one.engine.pending).toBe(1)
    const second = two.ask('/v1/caption', undefined, key)
    const other = await three.ask('/v1/answer', { image: base64, question: 'b?' }, key)
    expect((await problem(other)).code).toBe('key_taken')
    one.engine.release()
    expect(await (await second).json()).toEqual(await (await first).json())
    expect(two.engine.asks).toEqual([])
  })

  test('holds between servers that were given the same GLIMPSE_STATE', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'glimpse-contract-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const server = async () => serve(await serverOptions(readConfig({ GLIMPSE_STATE: folder })))
    const [one, two] = [await server(), await server()]
    const first = await one.ask('/v1/caption', undefined, key)
    const second = await two.ask('/v1/caption', undefined, key)
    expect(await second.json()).toEqual(await first.json())
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(two.engine.asks).toEqual([])
  })

  test('while another process runs the request, ends at its own deadline', async () => {
    const store = async () => memory
    const memory = inMemoryStore()
    const [one, two] = [serve({ store }), serve({ store, deadlineMs: 50 })]
    one.engine.hold()
    const first = one.ask('/v1/caption', undefined, key)
    await expect.poll(() => one.engine.pending).toBe(1)
    const late = await two.ask('/v1/caption', undefined, key)
    expect([late.status, (await problem(late)).code]).toEqual([504, 'deadline'])
    one.engine.release()
    expect((await first).status).toBe(200)
  })

  test('with invalid characters is refused', async () => {
    const response = await serve().ask('/v1/caption', undefined, { 'idempotency-key': 'a b' })
    expect(await problem(response)).toMatchObject({ code: 'bad_field' })
  })
})

describe('a refused request', () => {
  test('is 429 when the queue is full, with a Retry-After that grows with the queue, and counted', async () => {
    const { ask, engine } = serve({ maxQueue: 2 })
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    // A first answer, which sets the mean time of an answer.
    engine.hold()
    const first = ask('/v1/caption')
    await expect.poll(() => engine.pending).toBe(1)
    vi.advanceTimersByTime(400)
    engine.release()
    await first
    engine.hold()
    const taken = [1, 2, 3].map(() => ask('/v1/caption'))
    await expect.poll(() => engine.pending).toBe(1)
    const refused = await ask('/v1/caption')
    expect(refused.status).toBe(429)
    // Three ahead, 0.4 s each.
    expect(refused.headers.get('retry-after')).toBe('2')
    engine.release()
    await Promise.all(taken)
    expect(await measured('glimpse_rejected_total', { reason: 'busy' })).toBe(1)
    expect(await measured('glimpse_requests_total', { outcome: 'busy' })).toBe(1)
    expect(await measured('glimpse_http_wait_seconds')).toBe(4)
  })

  test('a flood of one tenant does not keep another out', async () => {
    const { ask, engine } = serve({ maxQueue: 2, token: TOKEN })
    const of = (tenant: string) => ({ authorization: `Bearer ${TOKEN}`, 'x-glimpse-tenant': tenant })
    engine.hold()
    const flood = [1, 2, 3, 4].map(() => ask('/v1/caption', undefined, of('flood')))
    await expect.poll(() => engine.pending).toBe(1)
    const quiet = ask('/v1/answer', { image: base64, question: 'quiet?' }, of('quiet'))
    // Bodies are read in order of arrival: when these are refused, the quiet one waits for its turn.
    for (let i = 0; i < 2; i++) expect((await ask('/v1/answer', {}, of('another'))).status).toBe(400)
    engine.release()
    expect((await quiet).status).toBe(200)
    expect((await Promise.all(flood)).map(({ status }) => status).sort()).toEqual([200, 200, 200, 429])
    expect(engine.asks[1]?.question).toBe('quiet?')
  })

  test('is 504 when its deadline passes while it waits', async () => {
    const { ask, engine } = serve({ deadlineMs: 30 })
    engine.hold()
    void ask('/v1/caption')
    await expect.poll(() => engine.pending).toBe(1)
    const late = await ask('/v1/caption')
    expect([late.status, (await problem(late)).code]).toEqual([504, 'deadline'])
    expect(await measured('glimpse_rejected_total', { reason: 'deadline' })).toBe(1)
    engine.release()
  })

  test('has the Retry-After of the other service', async () => {
    const { ask, engine } = serve()
    engine.fail(new UpstreamError('discord_busy', 'words', { retryAfterMs: 7_100 }))
    const response = await ask('/v1/caption')
    expect([response.status, response.headers.get('retry-after')]).toEqual([502, '8'])
    expect(await measured('glimpse_faults_total', { code: 'discord_busy' })).toBe(1)
  })

  test('shows in GET /metrics', async () => {
    const { ask, send } = serve()
    await ask('/v1/caption', { image: 'AAAA' })
    const metrics = await send('/metrics')
    expect(metrics.headers.get('content-type')).toMatch(/^text\/plain/)
    const text = await metrics.text()
    expect(text).toContain('glimpse_rejected_total{reason="not_a_picture"} 1')
    expect(text).toContain('glimpse_requests_total{task="caption",outcome="not_a_picture"} 1')
  })
})

afterEach(() => vi.restoreAllMocks())
