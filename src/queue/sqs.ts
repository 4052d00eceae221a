// Queue in SQS: a FIFO queue with a redrive policy, as in serverless.yml. A heartbeat hides a message while it is handled.
//
// Each receive asks for one message. With several of a group, those behind a poison message would be returned unprocessed
// and count as received, until they are dead letters too.
// Credentials come the SDK's usual ways (roles, profiles, AWS_ACCESS_KEY_ID), the region from the queue's address.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Message as Received, SQS, type SQSClientConfig } from '@aws-sdk/client-sqs'
import { RequestError, SetupError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { count } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import { injectTrace } from '../observe/trace.ts'
import { stopWith } from '../stop.ts'
import { handleDelivery } from './handler.ts'
import {
  type ConsumeOptions,
  type Consumer,
  HEARTBEATS,
  HIDDEN_S,
  type MessageHandler,
  type Queue,
  RETRY_MS,
  retryDelayMs,
} from './queue.ts'

interface Times {
  /** Visibility timeout in seconds. A heartbeat renews it while the handler runs. Default HIDDEN_S. */
  visibilityTimeoutS: number
  /** Seconds before the first retry of a failed message. Default 5. */
  retryS: number
  /** Seconds that a receive waits for a message. Default 20, the most that SQS takes. */
  waitTimeS: number
}
export type SqsOptions = SQSClientConfig & Partial<Times>

const CONCURRENCY = 4
const REQUEST_TIMEOUT_MS = 10_000
/** SQS takes 1 MiB, of which 1 KiB is left for the trace's attributes. */
const MAX_BYTES = 1024 * 1024 - 1024
/** Wait after a failed receive; doubles up to `most`. */
const PAUSE_MS = { first: 500, most: 30_000 }
/** W3C Trace Context. */
const TRACE_HEADERS = ['traceparent', 'tracestate']

/**
 * Sends nothing yet.
 * @param url of a FIFO queue: https://sqs.eu-central-1.amazonaws.com/123456789012/glimpse.fifo
 * @throws SetupError `bad_queue`
 */
export function sqsQueue(url: string, options: SqsOptions = {}): Queue {
  const { visibilityTimeoutS = HIDDEN_S, retryS = RETRY_MS / 1_000, waitTimeS = 20, ...config } = options
  const sqs = sqsClient(url, config)

  return {
    async check() {
      const input = { QueueUrl: url, AttributeNames: ['RedrivePolicy' as const] }
      const { Attributes } = await request('describe the queue', sqs.getQueueAttributes(input, timeout()))
      if (Attributes?.['RedrivePolicy']) return
      throw badQueue(
        'it has no dead-letter queue (RedrivePolicy), so poison messages would be delivered for days',
      )
    },
    async send(message, { deduplicationId, groupId }) {
      const MessageBody = JSON.stringify(message)
      const sizeBytes = Buffer.byteLength(MessageBody)
      if (sizeBytes > MAX_BYTES) {
        const why = `Expected a question of at most ${MAX_BYTES} bytes but got ${sizeBytes}. Shorten it.`
        throw new RequestError('message_too_large', why)
      }
      const input = {
        QueueUrl: url,
        MessageBody,
        // SQS takes names of 128 letters, digits and punctuation marks.
        MessageGroupId: sha256Hex(groupId),
        MessageDeduplicationId: sha256Hex(deduplicationId),
        MessageAttributes: attributesOf(injectTrace()),
      }
      await request('send a message', sqs.sendMessage(input, timeout()))
      count('glimpse_queue_messages_total', { outcome: 'sent' })
    },
    consume: (handler, given) => consume({ sqs, url, visibilityTimeoutS, retryS, waitTimeS }, handler, given),
  }
}

/** A client in the region of `https://sqs.eu-central-1.amazonaws.com/...`, or of AWS_REGION. @throws SetupError `bad_queue` */
export function sqsClient(url: string, config: SQSClientConfig = {}): SQS {
  const region = /^https?:\/\/sqs\.([a-z0-9-]+)\./.exec(url)?.[1]
  if (URL.canParse(url) && url.endsWith('.fifo')) return new SQS({ region, ...config })
  const message = `Expected the address of a FIFO queue (https://sqs...fifo) as GLIMPSE_QUEUE but got ${url}. Only a FIFO queue keeps the questions of a channel in order.`
  throw new SetupError('bad_queue', message)
}

function consume(
  { sqs, url, visibilityTimeoutS, retryS, waitTimeS }: Times & { sqs: SQS; url: string },
  handler: MessageHandler,
  { concurrency = CONCURRENCY, report = reportAs('queue_failed') }: ConsumeOptions = {},
): Consumer {
  const stopping = new AbortController()
  const { signal } = stopping
  /** Handlers at work, each with the function that returns its message to the queue. */
  const running = new Map<Promise<void>, () => Promise<void>>()

  const receive = async (): Promise<Received | undefined> => {
    const input = {
      QueueUrl: url,
      MaxNumberOfMessages: 1,
      WaitTimeSeconds: waitTimeS,
      VisibilityTimeout: visibilityTimeoutS,
      MessageSystemAttributeNames: ['ApproximateReceiveCount' as const],
      MessageAttributeNames: TRACE_HEADERS,
    }
    const stop = stopWith(signal, timeout(1_000 * waitTimeS).abortSignal)
    const received = sqs.receiveMessage(input, { abortSignal: stop.signal }).finally(stop.end)
    return (await request('receive a message', received)).Messages?.[0]
  }

  const start = ({ Body = '', MessageAttributes = {}, Attributes = {}, ReceiptHandle }: Received) => {
    const names = { QueueUrl: url, ReceiptHandle }
    const hide = async (VisibilityTimeout: number) => {
      const hidden = sqs.changeMessageVisibility({ ...names, VisibilityTimeout }, timeout())
      await request('change the visibility of a message', hidden).catch(report)
    }
    const heartbeat = setInterval(
      () => void hide(visibilityTimeoutS),
      (visibilityTimeoutS * 1_000) / HEARTBEATS,
    )
    let isReturned = false
    const returnToQueue = async (seconds = 0) => {
      clearInterval(heartbeat)
      if (!isReturned) {
        isReturned = true
        await hide(Math.ceil(seconds))
      }
    }
    const run = async () => {
      const carrier = Object.fromEntries(
        Object.entries(MessageAttributes).map(([name, { StringValue }]) => [name, StringValue]),
      )
      const receives = Number(Attributes['ApproximateReceiveCount'] ?? 1)
      const outcome = await handleDelivery({ body: Body, carrier, receives }, handler, report)
      clearInterval(heartbeat)
      if (outcome === 'done') await request('delete a message', sqs.deleteMessage(names, timeout()))
      // Without a wait for poison, which SQS moves to the dead letters, and for a message that a stop interrupted.
      else await returnToQueue(outcome !== 'poison' && !signal.aborted ? retryDelayMs(receives, retryS) : 0)
    }
    const ended: Promise<void> = run()
      .catch(report)
      .finally(() => running.delete(ended))
    running.set(ended, returnToQueue)
  }

  const poll = async () => {
    let pauseMs: number = PAUSE_MS.first
    while (!signal.aborted) {
      try {
        if (running.size >= concurrency) await Promise.race(running.keys())
        else {
          const received = await receive()
          if (received) start(received)
        }
        pauseMs = PAUSE_MS.first
      } catch (error) {
        if (signal.aborted) return
        report(error)
        // With jitter, so that processes that failed together do not retry together.
        await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
        pauseMs = Math.min(PAUSE_MS.most, 2 * pauseMs)
      }
    }
  }
  const polling = poll()

  return {
    async stop(graceMs) {
      stopping.abort()
      const finished = polling.then(() => Promise.all(running.keys()))
      await Promise.race([finished, sleep(graceMs)])
      await Promise.all([...running.values()].map((returnToQueue) => returnToQueue()))
    },
  }
}

function attributesOf(carrier: Record<string, string>) {
  const some = Object.entries(carrier).filter(([name, value]) => TRACE_HEADERS.includes(name) && value)
  return Object.fromEntries(some.map(([name, StringValue]) => [name, { DataType: 'String', StringValue }]))
}

function timeout(waitMs = 0): { abortSignal: AbortSignal } {
  return { abortSignal: AbortSignal.timeout(waitMs + REQUEST_TIMEOUT_MS) }
}

/** Errors that the operator must fix. */
const SETUP_ERRORS =
  /NonExistentQueue|QueueDoesNotExist|AccessDenied|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|CredentialsProvider|InvalidAddress|Region is missing/

/** @throws SetupError, UpstreamError of an error of the SDK */
async function request<T>(operation: string, sent: Promise<T>): Promise<T> {
  return await sent.catch((cause: unknown) => {
    const reason = cause instanceof Error ? `${cause.name} ${cause.message}`.trim() : String(cause)
    if (SETUP_ERRORS.test(reason)) throw badQueue(reason, cause)
    const message = `SQS (GLIMPSE_QUEUE) failed to ${operation}: ${reason}.`
    throw new UpstreamError('queue_failed', message, { cause })
  })
}

function badQueue(why: string, cause?: unknown): SetupError {
  const message = `Expected GLIMPSE_QUEUE to name a usable FIFO queue in SQS but: ${why}. Check the address, the region and the permissions.`
  return new SetupError('bad_queue', message, { cause })
}
