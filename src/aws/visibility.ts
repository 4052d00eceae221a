// What failed is delivered again soon. Lambda wants messages to stay hidden for six times as long as a function may run, which
// is right for one that died and far too long for one that says it failed: its question would be stale by then.

import { ChangeMessageVisibilityCommand, SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs'
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { report } from './lifecycle.ts'

/** By then the claim of a process that died is over (chat/processor.ts), and five tries are within a question's time. */
const RETRY_VISIBILITY_S = 35

/** For what `response` names. Never throws: at worst it comes again later. */
export type ShortenVisibility = (event: SQSEvent, response: SQSBatchResponse) => Promise<void>

/** @param url of the queue that the events come from; '' where nobody said: then nothing is hastened. */
export function openShortenVisibility(url: string, options: SQSClientConfig = {}): ShortenVisibility {
  if (url === '') return async () => {}
  const client = new SQSClient(options)
  return async ({ Records }, { batchItemFailures }) => {
    const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier))
    const handles = Records.filter(({ messageId }) => failed.has(messageId)).map(
      ({ receiptHandle }) => receiptHandle,
    )
    const commands = handles.map(
      (ReceiptHandle) =>
        new ChangeMessageVisibilityCommand({
          QueueUrl: url,
          ReceiptHandle,
          VisibilityTimeout: RETRY_VISIBILITY_S,
        }),
    )
    await Promise.all(commands.map((command) => client.send(command).catch(report)))
  }
}
