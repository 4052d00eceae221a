// What Lambda brings from an SQS queue -> the messages that are to come again.

import { SpanKind } from '@opentelemetry/api'
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { log } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { traced } from '../observe/trace.ts'
import { parseBody, type Work } from './queue.ts'

/**
 * Works on all of them, on one group in its order: after one that failed, the rest of its group is given back untouched,
 * for it would overtake.
 */
export async function handleBatch({ Records }: SQSEvent, work: Work): Promise<SQSBatchResponse> {
  const groups = new Map<string, SQSRecord[]>()
  for (const record of Records) {
    const name = record.attributes.MessageGroupId ?? record.messageId
    groups.set(name, [...(groups.get(name) ?? []), record])
  }
  const failed: string[] = []
  const inOrder = async (records: readonly SQSRecord[]) => {
    for (const [index, record] of records.entries()) {
      if (await isDone(record, work)) continue
      failed.push(...records.slice(index).map(({ messageId }) => messageId))
      return
    }
  }
  await Promise.all([...groups.values()].map(inOrder))
  return { batchItemFailures: failed.map((itemIdentifier) => ({ itemIdentifier })) }
}

async function isDone({ body, messageAttributes, attributes }: SQSRecord, work: Work): Promise<boolean> {
  const headers = Object.entries(messageAttributes ?? {}).map(([name, { stringValue }]) => [
    name,
    stringValue ?? '',
  ])
  try {
    await traced('answer', Object.fromEntries(headers), () => work(parseBody(body)), SpanKind.CONSUMER)
    count('glimpse_queue_messages_total', { outcome: 'done' })
    return true
  } catch (error) {
    count('glimpse_queue_messages_total', { outcome: 'again' })
    log.warn('message_failed', error, { receives: Number(attributes.ApproximateReceiveCount) })
    return false
  }
}
