// How long the messages of a delivery stay hidden: until a function that dies would have ended, or until a retry.
//
// Without this a message stays hidden for the queue's own visibility timeout, which must be longer than the function's timeout.
// Source: SQS API reference, ChangeMessageVisibility; Lambda developer guide, "Using Lambda with Amazon SQS".

import { ChangeMessageVisibilityCommand, SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs'
import type { SQSRecord } from 'aws-lambda'
import { report } from './lifecycle.ts'

/** After its end a function cannot answer any more. Clocks differ by less. */
const AFTER_END_S = 5
/**
 * Seconds before a message that failed is delivered again, by its deliveries so far. In sum more than ten minutes, so that a
 * question outlasts an outage of that length, and less than the 15 minutes for which it is answered (chat/processor.ts).
 */
const RETRY_S = [35, 90, 240, 300]

export type Visibility = ReturnType<typeof openVisibility>

/**
 * Changes the visibility of messages. Failures are reported and never thrown: SQS then delivers the message at another time.
 * @param url of the queue that the events come from; with '' nothing is done
 */
export function openVisibility(url: string, options: SQSClientConfig = {}) {
  const client = new SQSClient(options)
  const hide = async ({ receiptHandle }: Pick<SQSRecord, 'receiptHandle'>, seconds: number) => {
    if (url === '') return
    const command = { QueueUrl: url, ReceiptHandle: receiptHandle, VisibilityTimeout: seconds }
    await client.send(new ChangeMessageVisibilityCommand(command)).catch(report)
  }
  return {
    /** At the start of a delivery: until the function must have ended. @param remainingMs of the function */
    hideWhileRunning: (record: SQSRecord, remainingMs: number) =>
      hide(record, Math.ceil(remainingMs / 1000) + AFTER_END_S),
    /** After a failure: until the next delivery. */
    hideUntilRetry: (record: SQSRecord) => {
      const receives = Number(record.attributes.ApproximateReceiveCount)
      return hide(record, RETRY_S[Math.min(receives, RETRY_S.length) - 1] ?? RETRY_S[0]!)
    },
    /** Until the engine's notice, or its deadline. */
    hideWhileWaiting: (record: SQSRecord, waitMs: number) =>
      hide(record, Math.ceil(waitMs / 1000) + AFTER_END_S),
    /** Poison: at once, for SQS moves it to the dead-letter queue. */
    show: (record: Pick<SQSRecord, 'receiptHandle'>) => hide(record, 0),
  }
}
