// Lambda's side of the queue: which messages of a batch come again.

import type { SQSEvent } from 'aws-lambda'
import { beforeEach, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { processPartialResponse } from '../../src/queue/lambda-batch.ts'
import type { MessageHandler } from '../../src/queue/queue.ts'
import { measured } from '../measured.ts'

const lines: string[] = []
beforeEach(() => {
  lines.length = 0
  configureLog('json', { write: (line) => void lines.push(line) })
  resetMetrics()
})

const event = (...records: [id: string, group: string, body?: string][]) =>
  ({
    Records: records.map(([id, group, body = JSON.stringify({ kind: 'withdraw', id })]) => ({
      messageId: `m-${id}`,
      body,
      attributes: { MessageGroupId: group, ApproximateReceiveCount: '1' },
      messageAttributes: {},
    })),
  }) as unknown as SQSEvent
const failures = async (batch: SQSEvent, handler: MessageHandler) =>
  (await processPartialResponse(batch, handler)).batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)

test('all that was done stays done', async () => {
  expect(await failures(event(['a', 'g'], ['b', 'h']), async () => {})).toEqual([])
  expect(await measured('glimpse_queue_messages_total', { outcome: 'done' })).toBe(2)
})

test('after one that failed the rest of its group is not begun; other groups go on', async () => {
  const begun: string[] = []
  const handler: MessageHandler = async (message) => {
    const { id } = message as { id: string }
    begun.push(id)
    if (id === 'b') throw new Error('no')
  }
  const batch = event(['a', 'g'], ['b', 'g'], ['c', 'g'], ['d', 'h'])
  expect((await failures(batch, handler)).sort()).toEqual(['m-b', 'm-c'])
  expect(begun.sort()).toEqual(['a', 'b', 'd'])
  expect(await measured('glimpse_queue_messages_total', { outcome: 'again' })).toBe(2)
})

test.each(['', 'no JSON', '{"kind":"question"}', '{"kind":"secret text of somebody"}', '[]', 'null'])(
  'a body of another form fails alone, and the log does not say what it was: %s',
  async (body) => {
    expect(await failures(event(['a', 'g', body], ['b', 'h']), async () => {})).toEqual(['m-a'])
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('bad_message')
    expect(lines[0]).not.toContain('secret')
  },
)
