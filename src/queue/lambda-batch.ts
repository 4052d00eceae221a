// What Lambda brings from an SQS queue -> the messages that are to come again.
//
// Those reported untouched have used up one of their deliveries all the same: behind one that always fails they may end
// with the dead letters, too. So the event source should have `batchSize: 1`; SQS keeps the order by itself.

import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { count } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import { handleDelivery } from './handler.ts'
import type { MessageHandler } from './queue.ts'

const report = reportAs('message_failed')

/**
 * Works on all of them, on one group in its order: after one that failed, the rest of its group is given back untouched,
 * for it would overtake. Never throws.
 */
export async function processPartialResponse(
  { Records }: SQSEvent,
  handler: MessageHandler,
): Promise<SQSBatchResponse> {
  const groups = new Map<string, SQSRecord[]>()
  for (const record of Records) {
    const name = record.attributes.MessageGroupId ?? record.messageId
    groups.set(name, [...(groups.get(name) ?? []), record])
  }
  const failed: string[] = []
  const inOrder = async (records: readonly SQSRecord[]) => {
    for (const [index, record] of records.entries()) {
      if (await isDone(record, handler)) continue
      const behind = records.length - index - 1
      if (behind > 0) count('glimpse_queue_messages_total', { outcome: 'again' }, behind)
      failed.push(...records.slice(index).map(({ messageId }) => messageId))
      return
    }
  }
  await Promise.all([...groups.values()].map(inOrder))
  return { batchItemFailures: failed.map((itemIdentifier) => ({ itemIdentifier })) }
}

async function isDone(
  { body, messageAttributes, attributes }: SQSRecord,
  handler: MessageHandler,
): Promise<boolean> {
  const carrier = Object.fromEntries(
    Object.entries(messageAttributes ?? {}).map(([name, { stringValue }]) => [name, stringValue]),
  )
  const receives = Number(attributes.ApproximateReceiveCount)
  return (await handleDelivery({ body, carrier, receives }, handler, report)) === 'done'
}
