// Makes the failed messages of a batch visible again after 35 s. AWS recommends a visibility timeout of six times the
// function's timeout; with that alone a question would be too old at its next delivery.

import { ChangeMessageVisibilityCommand, SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs'
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { report } from './lifecycle.ts'

/** Longer than a lease (chat/processor.ts), and five deliveries fit into the time in which a question is answered. */
const RETRY_VISIBILITY_S = 35

/**
 * Returns the function for the messages that a response names. It never throws: a message that stays hidden is delivered later.
 * @param url of the queue that the events come from; with '' nothing is done
 */
export function openShortenVisibility(url: string, options: SQSClientConfig = {}) {
  const client = new SQSClient(options)
  return async ({ Records }: SQSEvent, { batchItemFailures }: SQSBatchResponse): Promise<void> => {
    if (url === '') return
    const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier))
    const shorten = Records.filter(({ messageId }) => failed.has(messageId)).map(({ receiptHandle }) => {
      const command = { QueueUrl: url, ReceiptHandle: receiptHandle, VisibilityTimeout: RETRY_VISIBILITY_S }
      return client.send(new ChangeMessageVisibilityCommand(command)).catch(report)
    })
    await Promise.all(shorten)
  }
}
