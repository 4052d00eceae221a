// The queue in SQS, through the unmodified SDK: the promises of every queue, and what the wire does to them.

import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { questionHandler } from '../../src/queue/handler.ts'
import { openQueue } from '../../src/queue/open.ts'
import type { Message, Queue } from '../../src/queue/queue.ts'
import { type SqsOptions, sqsQueue } from '../../src/queue/sqs.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'
import { conformsToQueue } from './conformance.ts'
import { askSqs, type SqsDouble, startSqsDouble } from './sqs-double.ts'

let sqs: SqsDouble
beforeEach(async () => {
  // Its time passes only by `sqs.pass`.
  sqs = await startSqsDouble({ clock: () => 0 })
})
afterEach(() => sqs.close())

const open = (more: SqsOptions = {}): Queue =>
  sqsQueue(sqs.url, {
    endpoint: sqs.endpoint,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    retryS: 0,
    ...more,
  })
const message = (id: string): Message => ({ kind: 'withdraw', id })

describe('in SQS', () => {
  conformsToQueue(async () => ({ queue: open(), dead: async () => sqs.dead.length }))
})

test('names of any length and script become names that SQS takes', async () => {
  const queue = open()
  await queue.send(message('ä'.repeat(300)), { deduplicationId: 'ä'.repeat(300), groupId: 'slack/T1/日本語' })
  expect(sqs.waiting()).toBe(1)
})

test('one that is worked on for long is not delivered to somebody else', async () => {
  const queue = open({ visibilityTimeoutS: 1 })
  let runs = 0
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const work = async () => {
    runs++
    await released
  }
  const consumers = [queue.consume(work), open({ visibilityTimeoutS: 1 }).consume(work)]
  await queue.send(message('a'), { deduplicationId: 'a', groupId: 'g' })
  // Each time it is hidden anew before the second is over.
  for (let second = 0; second < 3; second++) {
    const before = sqs.answered('ChangeMessageVisibility')
    await until(() => sqs.answered('ChangeMessageVisibility') > before)
    sqs.pass(900)
  }
  release()
  await until(() => sqs.waiting() === 0)
  await Promise.all(consumers.map((consumer) => consumer.stop(60_000)))
  expect(runs).toBe(1)
})

test('what a stop does not wait for comes to another at once', async () => {
  const queue = open({ visibilityTimeoutS: 60 })
  let isAt = false
  const first = queue.consume(() => {
    isAt = true
    return new Promise(() => {})
  })
  await queue.send(message('a'), { deduplicationId: 'a', groupId: 'g' })
  await until(() => isAt)
  await first.stop(0)
  let came = 0
  const second = queue.consume(async () => void came++)
  await until(() => came === 1)
  await second.stop(60_000)
})

test.each([
  ['a send that SQS refuses for a while', { on: 'SendMessage', status: 503 }],
  ['a send whose answer is lost', { on: 'SendMessage', status: 503, applied: true }],
  ['a connection that is cut while receiving', { on: 'ReceiveMessage', status: 0 }],
  ['a deletion that is refused for a while', { on: 'DeleteMessage', status: 503 }],
  ['a deletion whose answer is lost', { on: 'DeleteMessage', status: 500, applied: true }],
])('comes once through %s', async (_, fault) => {
  sqs.fault({ ...fault, times: 2 })
  const queue = open()
  let came = 0
  const consumer = queue.consume(async () => void came++)
  await queue.send(message('a'), { deduplicationId: 'a', groupId: 'g' })
  await until(() => came > 0 && sqs.waiting() === 0)
  await consumer.stop(60_000)
  expect(came).toBe(1)
})

test('a send that never succeeds says so', async () => {
  sqs.fault({ on: 'SendMessage', status: 503, times: 100 })
  await expect(
    open({ maxAttempts: 2 }).send(message('a'), { deduplicationId: 'a', groupId: 'g' }),
  ).rejects.toMatchObject({
    code: 'queue_failed',
  })
})

test('the same id is known for five minutes, and then no more', async () => {
  const queue = open()
  const send = () => queue.send(message('a'), { deduplicationId: 'a', groupId: 'g' })
  await send()
  await send()
  expect(sqs.waiting()).toBe(1)
  sqs.pass(5 * 60_000)
  await send()
  expect(sqs.waiting()).toBe(2)
})

test('what is no message goes to the dead letters without holding up its group', async () => {
  const about = { MessageGroupId: 'g', MessageDeduplicationId: 'junk' }
  await askSqs(sqs, 'SendMessage', { MessageBody: 'no JSON', ...about })
  // Another that fails would wait for minutes between its tries.
  const queue = open({ retryS: 300 })
  await queue.send(message('a'), { deduplicationId: 'a', groupId: 'other' })
  await askSqs(sqs, 'SendMessage', {
    ...about,
    MessageBody: JSON.stringify(message('b')),
    MessageDeduplicationId: 'b',
  })
  const came: Message[] = []
  const consumer = queue.consume(async (each) => void came.push(each), { report: () => {} })
  await until(() => came.length === 2)
  await consumer.stop(60_000)
  expect(sqs.dead).toEqual(['no JSON'])
})

test('one that fails is left alone for a while, longer each time', async () => {
  const queue = open({ retryS: 5 })
  await queue.send(message('a'), { deduplicationId: 'a', groupId: 'g' })
  let came = 0
  const work = async () => {
    came++
    throw new Error('no')
  }
  const consumer = queue.consume(work, { report: () => {} })
  await until(() => came === 1)
  for (const [index, waitMs] of [5_000, 15_000, 45_000, 135_000].entries()) {
    await until(() => sqs.answered('ChangeMessageVisibility') === index + 1)
    sqs.pass(waitMs - 1_000)
    const looks = sqs.looks()
    // What the first look found would be at work before the second.
    await until(() => sqs.looks() >= looks + 2)
    expect(came).toBe(index + 1)
    sqs.pass(1_000)
    await until(() => came === index + 2)
  }
  await until(() => sqs.dead.length === 1)
  await consumer.stop(60_000)
})

test('what a stop interrupts is answered by another process at once', async () => {
  const store = inMemoryStore()
  const held = doubleEngine()
  held.hold()
  const posted: string[] = []
  const deskWith = (engine: Engine) =>
    openProcessor({
      engine: Promise.resolve(engine),
      store,
      platforms: [
        {
          name: 'test',
          localeOf: async () => undefined,
          parentPictures: async () => ({ pictures: [] }),
          fetchPicture: async () => PNG,
          startTyping: async () => {},
          stopTyping: async () => {},
          post: async ({ id }) => [{ id: String(posted.push(id)) }],
          findPosted: async () => undefined,
          deleteReply: async () => {},
        },
      ],
      rateLimiter: { consume: async () => undefined },
      preferences: openPreferences(store),
      maxQueue: 8,
      keepMs: 3_600_000,
      report: () => {},
    })
  const [first, second] = [deskWith(held), deskWith(doubleEngine())]
  const question: Question = {
    id: 'a',
    platform: 'test',
    trigger: 'mention',
    asker: { id: 'ann' },
    text: '',
    pictures: [{ id: 'p', url: 'https://x/' }],
    conversations: ['a'],
    channel: 'c',
    askedAt: Date.now(),
    route: {},
  }
  await open().send({ kind: 'question', question }, { deduplicationId: 'a', groupId: 'c' })
  const stopping = open().consume(questionHandler(first), { report: () => {} })
  await until(() => held.asks.length === 1)
  await Promise.all([stopping.stop(60_000), first.shutdown(0)])
  // No time passes: neither the claim nor the visibility has run out.
  const other = open().consume(questionHandler(second))
  await until(() => posted.length === 1 && sqs.waiting() === 0)
  await other.stop(60_000)
  held.release()
  await first.drained()
  expect(posted).toEqual(['a'])
})

test('a queue that is there and has dead letters is found good', async () => {
  await expect(open().check()).resolves.toBeUndefined()
})

test.each([
  [400, 'QueueDoesNotExist', 'bad_queue'],
  [403, 'AccessDeniedException', 'bad_queue'],
  [500, 'InternalFailure', 'queue_failed'],
])('%i %s is %s', async (status, type, code) => {
  sqs.fault({ on: 'GetQueueAttributes', status, type, times: 10 })
  await expect(open({ maxAttempts: 1 }).check()).rejects.toMatchObject({ code })
})

test.each(['https://sqs.eu-central-1.amazonaws.com/1/standard', 'nonsense', ''])(
  'a queue that keeps no order, or none, is refused: %s',
  async (place) => {
    await expect(openQueue(place)).rejects.toMatchObject({ code: 'bad_queue' })
  },
)

test('a question too large for SQS is refused before it is sent', async () => {
  await expect(
    open().send(message('x'.repeat(2 ** 20)), { deduplicationId: 'a', groupId: 'g' }),
  ).rejects.toMatchObject({
    code: 'message_too_large',
  })
})

test('one trace leads from the sender through the queue to the work', async () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  trace.setGlobalTracerProvider(provider)
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  try {
    const queue = open()
    let seen: string | undefined
    const consumer = queue.consume(async () => {
      seen = trace.getActiveSpan()?.spanContext().traceId
    })
    const sent = await trace.getTracer('test').startActiveSpan('event', async (span) => {
      await queue.send(message('a'), { deduplicationId: 'a', groupId: 'g' })
      span.end()
      return span.spanContext()
    })
    await until(() => seen !== undefined && sqs.waiting() === 0)
    await consumer.stop(60_000)
    expect(seen).toBe(sent.traceId)
    const work = exporter.getFinishedSpans().find(({ name }) => name === 'answer')
    expect(work?.parentSpanContext?.spanId).toBe(sent.spanId)
  } finally {
    trace.disable()
    propagation.disable()
    context.disable()
  }
})
