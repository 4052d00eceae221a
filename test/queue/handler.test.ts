// One delivery of a message: what becomes of it, what is counted and what the log says.

import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import type { SQSEvent } from 'aws-lambda'
import { beforeEach, expect, test } from 'vitest'
import { BusyError, UpstreamError } from '../../src/errors.ts'
import { configureLog } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { reportAs } from '../../src/observe/report.ts'
import { type Delivery, handleDelivery } from '../../src/queue/handler.ts'
import { processPartialResponse } from '../../src/queue/lambda-batch.ts'
import { MAX_RECEIVES, type Message, messageName, retryDelayMs } from '../../src/queue/queue.ts'
import { measured } from '../measured.ts'

const lines: string[] = []
beforeEach(() => {
  lines.length = 0
  configureLog('json', { write: (line) => void lines.push(line) })
  resetMetrics()
})

const MESSAGE: Message = { kind: 'withdraw', id: 'slack/T1/C1/1.0' }
const delivery = (more: Partial<Delivery> = {}): Delivery => ({
  body: JSON.stringify(MESSAGE),
  carrier: {},
  receives: 1,
  ...more,
})
const report = reportAs('message_failed')
const fails = (error: unknown) => async () => {
  throw error
}

test.each([
  ['work that ends well', async () => {}, 1, 'done'],
  ['work that fails', fails(new UpstreamError('state_failed', 'No.')), 1, 'again'],
  ['the last try that fails', fails(new Error('a bug')), MAX_RECEIVES, 'poison'],
  ['a process that stops, at whatever try', fails(new BusyError('stopping', 'No.')), MAX_RECEIVES, 'again'],
] as const)('%s: after delivery %#', async (_, work, receives, outcome) => {
  expect(await handleDelivery(delivery({ receives }), work, report)).toBe(outcome)
  expect(await measured('glimpse_queue_messages_total', { outcome })).toBe(1)
})

test('what is no message is poison at its first delivery, and nothing of it is told', async () => {
  const body = '{"kind":"question","question":{"text":"my secret?"}}'
  expect(await handleDelivery(delivery({ body }), async () => {}, report)).toBe('poison')
  expect(lines.join()).toContain('bad_message')
  expect(lines.join()).not.toContain('secret')
})

test('a failure is in the log with the name of its job, which tells no channel', async () => {
  await handleDelivery(delivery(), fails(new UpstreamError('state_failed', 'Expected S3 to do it.')), report)
  expect(JSON.parse(lines[0]!)).toMatchObject({ job_id: messageName(MESSAGE), code: 'state_failed' })
  expect(lines[0]).not.toContain('C1')
})

test('one that fails comes again later each time, the last time after a claim has run out', () => {
  const waits = [1, 2, 3, 4].map((receives) => retryDelayMs(receives, 5_000))
  expect(waits).toEqual([5_000, 15_000, 45_000, 135_000])
})

test('on Lambda the work is part of the trace that the sender was in', async () => {
  trace.setGlobalTracerProvider(new BasicTracerProvider())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  try {
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    const record = {
      messageId: 'm',
      body: delivery().body,
      attributes: { MessageGroupId: 'g', ApproximateReceiveCount: '1' },
      messageAttributes: { traceparent: { stringValue: `00-${traceId}-b7ad6b7169203331-01` } },
    }
    let seen: string | undefined
    await processPartialResponse({ Records: [record] } as unknown as SQSEvent, async () => {
      seen = trace.getActiveSpan()?.spanContext().traceId
    })
    expect(seen).toBe(traceId)
  } finally {
    trace.disable()
    propagation.disable()
    context.disable()
  }
})
