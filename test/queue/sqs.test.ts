// The queue in SQS, through the unmodified SDK: the promises of every queue, and what the wire does to them.

import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openQueue } from '../../src/queue/open.ts'
import type { Message, Queue } from '../../src/queue/queue.ts'
import { type SqsOptions, sqsQueue } from '../../src/queue/sqs.ts'
import { keepsItsPromises, until } from './conformance.ts'
import { type SqsDouble, startSqsDouble } from './sqs-double.ts'

let sqs: SqsDouble
beforeEach(async () => {
  sqs = await startSqsDouble()
})
afterEach(() => sqs.close())

const open = (more: SqsOptions = {}): Queue =>
  sqsQueue(sqs.url, {
    endpoint: sqs.endpoint,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    againS: 0,
    ...more,
  })
const message = (id: string): Message => ({ kind: 'withdraw', id })

describe('in SQS', () => {
  keepsItsPromises(async () => ({ queue: open(), dead: async () => sqs.dead.length }))
})

test('names of any length and script become names that SQS takes', async () => {
  const queue = open()
  await queue.send(message('ä'.repeat(300)), { id: 'ä'.repeat(300), group: 'slack/T1/日本語' })
  expect(sqs.waiting()).toBe(1)
})

test('one that is worked on for long is not delivered to somebody else', async () => {
  const queue = open({ hiddenS: 1 })
  let runs = 0
  const work = async () => {
    runs++
    await new Promise((resolve) => setTimeout(resolve, 2_500))
  }
  const consumers = [queue.consume(work), open({ hiddenS: 1 }).consume(work)]
  await queue.send(message('a'), { id: 'a', group: 'g' })
  await until(() => sqs.waiting() === 0)
  await Promise.all(consumers.map((consumer) => consumer.stop(1_000)))
  expect(runs).toBe(1)
})

test('what a stop does not wait for comes to another at once', async () => {
  const queue = open({ hiddenS: 60 })
  let isAt = false
  const first = queue.consume(() => {
    isAt = true
    return new Promise(() => {})
  })
  await queue.send(message('a'), { id: 'a', group: 'g' })
  await until(() => isAt)
  await first.stop(50)
  let came = 0
  const second = queue.consume(async () => void came++)
  await until(() => came === 1, 3_000)
  await second.stop(1_000)
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
  await queue.send(message('a'), { id: 'a', group: 'g' })
  await until(() => came > 0 && sqs.waiting() === 0)
  await consumer.stop(1_000)
  expect(came).toBe(1)
})

test('a send that never succeeds says so', async () => {
  sqs.fault({ on: 'SendMessage', status: 503, times: 100 })
  await expect(open({ maxAttempts: 2 }).send(message('a'), { id: 'a', group: 'g' })).rejects.toMatchObject({
    code: 'queue_failed',
  })
})

test.each(['https://sqs.eu-central-1.amazonaws.com/1/standard', 'nonsense', ''])(
  'a queue that keeps no order, or none, is refused: %s',
  async (place) => {
    await expect(openQueue(place)).rejects.toMatchObject({ code: 'bad_queue' })
  },
)

test('a question too large for SQS is refused before it is sent', async () => {
  await expect(open().send(message('x'.repeat(2 ** 20)), { id: 'a', group: 'g' })).rejects.toMatchObject({
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
      await queue.send(message('a'), { id: 'a', group: 'g' })
      span.end()
      return span.spanContext()
    })
    await until(() => seen !== undefined && sqs.waiting() === 0)
    await consumer.stop(1_000)
    expect(seen).toBe(sent.traceId)
    const work = exporter.getFinishedSpans().find(({ name }) => name === 'answer')
    expect(work?.parentSpanContext?.spanId).toBe(sent.spanId)
  } finally {
    trace.disable()
    propagation.disable()
    context.disable()
  }
})
