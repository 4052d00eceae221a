// A call leaves no listener on an AbortSignal that outlives it.

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

/** Node warns above ten listeners. */
const CALLS = 20
const warnings: string[] = []
const recordWarning = (warning: Error) => void warnings.push(warning.name)
/** Returns every signal that got a listener during the test. */
let listened: () => AbortSignal[]

beforeEach(({ signal: ofVitest }) => {
  vi.spyOn(AbortSignal, 'any')
  const add = vi.spyOn(EventTarget.prototype, 'addEventListener')
  const isSignal = (target: unknown) => target instanceof AbortSignal && target !== ofVitest
  listened = () => [...new Set(add.mock.contexts)].filter(isSignal) as AbortSignal[]
  process.on('warning', recordWarning)
})
afterEach(() => {
  process.off('warning', recordWarning)
  expect(AbortSignal.any).not.toHaveBeenCalled()
  vi.restoreAllMocks()
  expect(warnings.splice(0)).not.toContain('MaxListenersExceededWarning')
})

const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length
const maxListeners = () => Math.max(0, ...listened().map(listenersOf))

test('a combined stop aborts with the reason of any of its signals until it ends, and then leaves no listener', () => {
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

test('requests to a remote engine leave no listener on its signal or on the caller signal', async () => {
  const engine = remoteEngine('remote', 60_000, async () => ({ text: 'a cat' }) as never)
  const caller = new AbortController()
  await Promise.all(Array.from({ length: CALLS }, () => engine.answer({}, { signal: caller.signal })))
  // The engine's own signal and the caller's.
  expect(listened().length).toBeGreaterThan(1)
  expect(maxListeners()).toBe(0)
})

test('HTTP requests leave no listener on the hard stop', async () => {
  const hardStop = new AbortController()
  const app = createApp(doubleEngine(), { hardStop: hardStop.signal, maxQueue: CALLS })
  const body = JSON.stringify({ image: Buffer.from(PNG).toString('base64') })
  const headers = { 'content-type': 'application/json' }
  const post = () => app.request('/v1/caption', { method: 'POST', body, headers })
  const statuses = await Promise.all(Array.from({ length: CALLS }, async () => (await post()).status))
  expect(new Set(statuses)).toEqual(new Set([200]))
  expect(listenersOf(hardStop.signal)).toBe(0)
})

test('receives from the queue leave no listener on the signal that stops it, also after failures', async () => {
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
  // The one listener of the pause after the second failure.
  expect(maxListeners()).toBeLessThanOrEqual(1)
  await consumer.stop(1_000)
  expect(maxListeners()).toBe(0)
})

test('parallel downloads of a model leave no listener on the signal that cancels them', async () => {
  const s3 = await startS3Double('models')
  const cacheFolder = await mkdtemp(join(tmpdir(), 'glimpse-stop-'))
  onTestFinished(async () => {
    s3.close()
    await rm(cacheFolder, { recursive: true, force: true })
  })
  upload(s3, makeModel())
  const stop = new AbortController()
  await fetchArtifact('s3://models/model', {
    cacheFolder,
    client: credentials(s3),
    streams: { count: CALLS, pieceBytes: PIECE_BYTES },
    signal: stop.signal,
  })
  expect(listenersOf(stop.signal)).toBe(0)
})
