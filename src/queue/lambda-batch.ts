// A batch of SQS messages that Lambda delivers -> the ids of those that SQS must deliver again.
//
// A message returned unprocessed still counts as received, so messages behind a poison message can end up in the dead-letter
// queue. Set `batchSize: 1` on the event source; SQS keeps the order of a group by itself.

import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { count } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import { type DeliveryOutcome, handleDelivery } from './handler.ts'
import type { MessageHandler } from './queue.ts'

const report = reportAs('message_failed')

interface BatchOptions {
  /** When the function ends, in milliseconds since 1970. */
  endsAt?: number
  /** Called with each message that is returned, before its id is. */
  onReturn?: (record: SQSRecord, outcome: DeliveryOutcome) => Promise<void>
}

/**
 * Handles groups in parallel and the messages of a group in their order. After a failure the rest of the group is returned
 * unprocessed, to keep the order. Never throws, unless `onReturn` does.
 */
export async function processPartialResponse(
  { Records }: SQSEvent,
  handler: MessageHandler,
  { endsAt, onReturn = async () => {} }: BatchOptions = {},
): Promise<SQSBatchResponse> {
  const groups = new Map<string, SQSRecord[]>()
  for (const record of Records) {
    const name = record.attributes.MessageGroupId ?? record.messageId
    groups.set(name, [...(groups.get(name) ?? []), record])
  }
  const failed: string[] = []
  const inOrder = async (records: readonly SQSRecord[]) => {
    for (const [index, record] of records.entries()) {
      const { body, messageAttributes = {}, attributes } = record
      const carrier = Object.fromEntries(
        Object.entries(messageAttributes).map(([name, { stringValue }]) => [name, stringValue]),
      )
      const delivery = { body, carrier, receives: Number(attributes.ApproximateReceiveCount), endsAt }
      const outcome = await handleDelivery(delivery, handler, report)
      if (outcome === 'done') continue
      const behind = records.slice(index + 1)
      if (behind.length > 0) count('glimpse_queue_messages_total', { outcome: 'again' }, behind.length)
      await onReturn(record, outcome)
      for (const each of behind) await onReturn(each, 'again')
      failed.push(...[record, ...behind].map(({ messageId }) => messageId))
      return
    }
  }
  await Promise.all([...groups.values()].map(inOrder))
  return { batchItemFailures: failed.map((itemIdentifier) => ({ itemIdentifier })) }
}
