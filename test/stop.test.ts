// Signals that outlive a call: nothing of the call stays with them.

import { getEventListeners } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { sqsQueue } from '../src/queue/sqs.ts'
import { remoteEngine } from '../src/remote/engine.ts'
import { createApp } from '../src/serve/routes.ts'
import { stopWith } from '../src/stop.ts'
import { fetchArtifact } from '../src/transfer/fetch.ts'
import { startSqsDouble } from './queue/sqs-double.ts'
import { doubleEngine, PNG } from './serve/double.ts'
import { startS3Double } from './store/s3-double.ts'
import { credentials, makeModel, PIECE_BYTES, upload } from './transfer/model.ts'
import { until } from './until.ts'

/** More than the ten listeners that Node warns of. */
const CALLS = 20
const warnings: string[] = []
const note = (warning: Error) => void warnings.push(warning.name)
/** Every signal that was listened to during the test. */
let listened: () => AbortSignal[]

beforeEach(({ signal: ofVitest }) => {
  vi.spyOn(AbortSignal, 'any')
  const add = vi.spyOn(EventTarget.prototype, 'addEventListener')
  const isOurs = (one: unknown) => one instanceof AbortSignal && one !== ofVitest
  listened = () => [...new Set(add.mock.contexts)].filter(isOurs) as AbortSignal[]
  process.on('warning', note)
})
afterEach(() => {
  process.off('warning', note)
  expect(AbortSignal.any).not.toHaveBeenCalled()
  vi.restoreAllMocks()
  expect(warnings.splice(0)).not.toContain('MaxListenersExceededWarning')
})

const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length
const most = () => Math.max(0, ...listened().map(listenersOf))

test('a stop follows each of the others with its reason until it ends, and then leaves nothing', () => {
  const [one, two] = [new AbortController(), new AbortController()]
  const stops = Array.from({ length: CALLS }, () => stopWith(one.signal, undefined, two.signal))
  stops[0]!.end()
  two.abort('why')
  expect([stops[0]!.signal.aborted, stops[1]!.signal.reason]).toEqual([false, 'why'])
  expect(stopWith(one.signal, two.signal).signal.reason).toBe('why')
  expect([stopWith().signal.aborted, stopWith(one.signal).signal.aborted]).toEqual([false, false])
  for (const stop of stops) stop.end()
  expect(listenersOf(one.signal)).toBe(2)
})

test('asks to an engine elsewhere leave nothing with it or with their asker', async () => {
  const engine = remoteEngine('elsewhere', 60_000, async () => ({ text: 'a cat' }) as never)
  const asker = new AbortController()
  await Promise.all(Array.from({ length: CALLS }, () => engine.answer({}, { signal: asker.signal })))
  // Of the engine's own signal and the asker's.
  expect(listened().length).toBeGreaterThan(1)
  expect(most()).toBe(0)
})

test('asks over HTTP leave nothing with what cuts them short', async () => {
  const cutting = new AbortController()
  const app = createApp(doubleEngine(), { hardStop: cutting.signal, maxQueue: CALLS })
  const body = JSON.stringify({ image: Buffer.from(PNG).toString('base64') })
  const headers = { 'content-type': 'application/json' }
  const ask = () => app.request('/v1/caption', { method: 'POST', body, headers })
  const statuses = await Promise.all(Array.from({ length: CALLS }, async () => (await ask()).status))
  expect(new Set(statuses)).toEqual(new Set([200]))
  expect(listenersOf(cutting.signal)).toBe(0)
})

test('receives from the queue, also those that fail, leave nothing with what stops it', async () => {
  const sqs = await startSqsDouble()
  onTestFinished(() => sqs.close())
  const queue = sqsQueue(sqs.url, {
    endpoint: sqs.endpoint,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    waitTimeS: 0,
    maxAttempts: 1,
  })
  const errors: unknown[] = []
  const consumer = queue.consume(async () => 'done' as never, { report: (error) => void errors.push(error) })
  sqs.fault({ on: 'ReceiveMessage', status: 500, times: 2 })
  await until(() => errors.length === 2)
  // That of the pause after the second.
  expect(most()).toBeLessThanOrEqual(1)
  await consumer.stop(1_000)
  expect(most()).toBe(0)
})

test('pieces of a model leave nothing with what ends the fetch', async () => {
  const s3 = await startS3Double('models')
  const room = await mkdtemp(join(tmpdir(), 'glimpse-stop-'))
  onTestFinished(async () => {
    s3.close()
    await rm(room, { recursive: true, force: true })
  })
  upload(s3, makeModel())
  const stop = new AbortController()
  await fetchArtifact('s3://models/model', {
    cacheFolder: room,
    client: credentials(s3),
    streams: { count: CALLS, pieceBytes: PIECE_BYTES },
    signal: stop.signal,
  })
  expect(listenersOf(stop.signal)).toBe(0)
})
