// How long the messages of a delivery stay hidden: while the function lives, until a retry, or until an endpoint has answered.
//
// Without this a message stays hidden for the queue's own visibility timeout, which Lambda requires to be at least the timeout
// of the function. After a death its conversation would wait for so long.
// Source: SQS API reference, ChangeMessageVisibility; Lambda developer guide, "Using Lambda with Amazon SQS".

import { ChangeMessageVisibilityCommand, SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs'
import type { SQSRecord } from 'aws-lambda'
import { keyedMutex } from '../concurrency.ts'
import { HEARTBEATS, HIDDEN_S } from '../queue/queue.ts'
import { report } from './lifecycle.ts'

const HEARTBEAT_MS = (1_000 * HIDDEN_S) / HEARTBEATS
/** After its end a function cannot answer any more. Clocks differ by less. */
const AFTER_END_S = 5
/** Shorter than the pause between two heartbeats. */
const CHANGE_MS = 5_000
/**
 * Seconds before a message that failed is delivered again, by its deliveries so far. In sum more than ten minutes, so that a
 * question outlasts an outage of that length, and less than the 15 minutes for which it is answered (chat/processor.ts).
 */
const RETRY_S = [35, 90, 240, 300]
/** The message is visible already, or another delivery has it. */
const TOO_LATE = /MessageNotInflight|ReceiptHandleIsInvalid|receipt handle has expired/i

type Handle = Pick<SQSRecord, 'receiptHandle'>

/**
 * Changes the visibility of messages, each in the order of the calls. Failures of `hide...` are reported and not thrown: SQS
 * then delivers the message at another time.
 * @param url of the queue that the events come from; with '' nothing is done
 */
export function openVisibility(url: string, options: SQSClientConfig = {}) {
  const client = new SQSClient(options)
  const mutex = keyedMutex()
  const heartbeats = new Map<string, NodeJS.Timeout>()

  const change = ({ receiptHandle }: Handle, seconds: number) =>
    mutex.run([receiptHandle], async () => {
      if (url === '') return
      const command = { QueueUrl: url, ReceiptHandle: receiptHandle, VisibilityTimeout: seconds }
      const abortSignal = AbortSignal.timeout(CHANGE_MS)
      await client
        .send(new ChangeMessageVisibilityCommand(command), { abortSignal })
        .catch((error: unknown) => {
          if (!(error instanceof Error && TOO_LATE.test(`${error.name} ${error.message}`))) throw error
        })
    })
  const endHeartbeat = ({ receiptHandle }: Handle) => {
    clearInterval(heartbeats.get(receiptHandle))
    heartbeats.delete(receiptHandle)
  }
  const hide = async (record: Handle, seconds: number) => {
    endHeartbeat(record)
    await change(record, seconds).catch(report)
  }
  return {
    /**
     * At the start of a delivery. A heartbeat goes on hiding the message until another function here is called.
     * @param endsAt when the function ends by itself, in milliseconds since 1970
     */
    async hideWhileRunning(record: Handle, endsAt: number) {
      const seconds = () =>
        Math.min(HIDDEN_S, Math.max(0, Math.ceil((endsAt - Date.now()) / 1_000)) + AFTER_END_S)
      const beat = () => change(record, seconds()).catch(report)
      endHeartbeat(record)
      heartbeats.set(record.receiptHandle, setInterval(beat, HEARTBEAT_MS))
      await beat()
    },
    /** At the end of a delivery: ends the heartbeat, also one that is being sent. */
    async stopHiding(record: Handle) {
      endHeartbeat(record)
      await mutex.run([record.receiptHandle], async () => {})
    },
    /** After a failure: until the next delivery. */
    hideUntilRetry: (record: SQSRecord) => {
      const receives = Number(record.attributes.ApproximateReceiveCount)
      return hide(record, RETRY_S[Math.min(receives, RETRY_S.length) - 1] ?? RETRY_S[0]!)
    },
    /** Until the engine's notice, or its deadline. */
    hideWhileWaiting: (record: Handle, waitMs: number) =>
      hide(record, Math.ceil(waitMs / 1_000) + AFTER_END_S),
    /** At once: poison, which SQS moves to the dead-letter queue, or a question whose engine has answered. @throws Error of SQS */
    async show(record: Handle) {
      endHeartbeat(record)
      await change(record, 0)
    },
  }
}
