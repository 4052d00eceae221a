// The queue in SQS: a FIFO queue with a redrive policy, as serverless.yml makes it.
//
// One message is received at a time. Of several of one group those behind one that always fails would go back untouched,
// each time one delivery nearer to the dead letters; alone it holds up its group and harms nobody in it.
//
// Credentials come the SDK's usual ways: roles, profiles, AWS_ACCESS_KEY_ID. The region stands in the queue's address.

import { setTimeout as sleep } from 'node:timers/promises'
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message as Received,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
  type SQSClientConfig,
} from '@aws-sdk/client-sqs'
import { isGlimpseError, RequestError, SetupError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { count } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import { injectTrace } from '../observe/trace.ts'
import { stopWith } from '../stop.ts'
import { handleDelivery } from './handler.ts'
import {
  type ConsumeOptions,
  type Consumer,
  type MessageHandler,
  type Queue,
  RETRY_MS,
  retryDelayMs,
} from './queue.ts'

export interface SqsOptions extends SQSClientConfig {
  /** How long a message that is worked on stays hidden unless that is put off, which happens all along. Default 60 s. */
  visibilityTimeoutS?: number
  /** Before one whose work failed comes again, for the first time. Default 5 s. */
  retryS?: number
  /** How long a receive waits for something. Default 20 s, the most that SQS takes. */
  waitTimeS?: number
}

const VISIBILITY_TIMEOUT_S = 60
const CONCURRENCY = 4
const WAIT_TIME_S = 20
/** An answer that takes longer than that will not come any more. */
const LATE_MS = 10_000
/** With room for the trace's attributes, which count as well. */
const MAX_BYTES = 1024 * 1024 - 1024
/** After a receive that failed, doubled each time up to the larger. */
const PAUSE_MS = { first: 500, most: 30_000 }
/** W3C Trace Context. */
const TRACE_HEADERS = ['traceparent', 'tracestate']

/**
 * Opens no connection yet.
 * @param url of a FIFO queue: https://sqs.eu-central-1.amazonaws.com/123456789012/glimpse.fifo
 * @throws SetupError `bad_queue`
 */
export function sqsQueue(url: string, options: SqsOptions = {}): Queue {
  const {
    visibilityTimeoutS = VISIBILITY_TIMEOUT_S,
    retryS = RETRY_MS / 1_000,
    waitTimeS = WAIT_TIME_S,
    ...config
  } = options
  const client = sqsClient(url, config)

  return {
    async check() {
      const command = new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['RedrivePolicy'] })
      const { Attributes } = await client.send(command, requestTimeout()).catch(toGlimpseError('answer'))
      if (Attributes?.['RedrivePolicy']) return
      throw badQueue('it has no dead letters (RedrivePolicy), so what always fails would come for days')
    },
    async send(message, { deduplicationId, groupId }) {
      const MessageBody = JSON.stringify(message)
      const sizeBytes = Buffer.byteLength(MessageBody)
      if (sizeBytes > MAX_BYTES) {
        throw new RequestError(
          'message_too_large',
          `Expected a question of at most ${MAX_BYTES} bytes but got ${sizeBytes}. Ask with fewer words.`,
        )
      }
      const command = new SendMessageCommand({
        QueueUrl: url,
        MessageBody,
        // SQS takes 128 characters of few kinds as names.
        MessageGroupId: sha256Hex(groupId),
        MessageDeduplicationId: sha256Hex(deduplicationId),
        MessageAttributes: attributesOf(injectTrace()),
      })
      await client.send(command, requestTimeout()).catch(toGlimpseError('send'))
      count('glimpse_queue_messages_total', { outcome: 'sent' })
    },
    consume: (handler, given) =>
      consume({ client, url, visibilityTimeoutS, retryS, waitTimeS }, handler, given),
  }
}

/** In the region of the queue's address. @throws SetupError `bad_queue` */
export function sqsClient(url: string, config: SQSClientConfig = {}): SQSClient {
  if (URL.canParse(url) && url.endsWith('.fifo')) return new SQSClient({ region: regionIn(url), ...config })
  throw new SetupError(
    'bad_queue',
    `Expected the address of a FIFO queue (https://sqs...fifo) as GLIMPSE_QUEUE but got ${url}. Its order is what keeps a thread in order.`,
  )
}

interface SqsContext {
  client: SQSClient
  url: string
  visibilityTimeoutS: number
  retryS: number
  waitTimeS: number
}

function consume(
  { client, url, visibilityTimeoutS, retryS, waitTimeS }: SqsContext,
  handler: MessageHandler,
  { concurrency = CONCURRENCY, report = reportAs('queue_failed') }: ConsumeOptions = {},
): Consumer {
  const stopping = new AbortController()
  const { signal } = stopping
  /** Ends the wait of `poll`. */
  let wake = () => {}
  const woken = () => new Promise<void>((resolve) => (wake = resolve))
  /** Each with what gives its message back. */
  const running = new Map<Promise<void>, () => Promise<void>>()

  const receive = async (): Promise<Received | undefined> => {
    const command = new ReceiveMessageCommand({
      QueueUrl: url,
      MaxNumberOfMessages: 1,
      WaitTimeSeconds: waitTimeS,
      VisibilityTimeout: visibilityTimeoutS,
      MessageSystemAttributeNames: ['ApproximateReceiveCount'],
      MessageAttributeNames: TRACE_HEADERS,
    })
    const stop = stopWith(signal, AbortSignal.timeout(1_000 * waitTimeS + LATE_MS))
    const received = client.send(command, { abortSignal: stop.signal }).catch(toGlimpseError('receive'))
    return (await received.finally(stop.end)).Messages?.[0]
  }

  const start = (received: Received) => {
    const { Body = '', MessageAttributes = {}, Attributes = {} } = received
    const names = { QueueUrl: url, ReceiptHandle: received.ReceiptHandle! }
    const changeVisibility = async (seconds: number) => {
      const command = new ChangeMessageVisibilityCommand({ ...names, VisibilityTimeout: seconds })
      await client.send(command, requestTimeout()).catch(toGlimpseError('hide a message')).catch(report)
    }
    const heartbeat = setInterval(
      () => void changeVisibility(visibilityTimeoutS),
      (visibilityTimeoutS * 1_000) / 3,
    )
    let isReturned = false
    const returnToQueue = async (seconds = 0) => {
      clearInterval(heartbeat)
      if (isReturned) return
      isReturned = true
      await changeVisibility(Math.ceil(seconds))
    }
    const run = async () => {
      const carrier = Object.fromEntries(
        Object.entries(MessageAttributes).map(([name, { StringValue }]) => [name, StringValue]),
      )
      const receives = Number(Attributes['ApproximateReceiveCount'] ?? 1)
      const outcome = await handleDelivery({ body: Body, carrier, receives }, handler, report)
      clearInterval(heartbeat)
      if (outcome === 'done')
        await client.send(new DeleteMessageCommand(names), requestTimeout()).catch(toGlimpseError('delete'))
      // Poison goes to the dead letters, and what a stop interrupted to somebody else, without a pause.
      else await returnToQueue(outcome === 'again' && !signal.aborted ? retryDelayMs(receives, retryS) : 0)
    }
    const ended = run()
      .catch(report)
      .finally(() => {
        running.delete(ended)
        wake()
      })
    running.set(ended, returnToQueue)
  }

  const poll = async () => {
    let pauseMs: number = PAUSE_MS.first
    while (!signal.aborted) {
      try {
        while (running.size >= concurrency && !signal.aborted) await woken()
        const received = signal.aborted ? undefined : await receive()
        pauseMs = PAUSE_MS.first
        if (received) start(received)
      } catch (error) {
        if (signal.aborted) return
        report(error)
        // Many processes that fail at once shall not all come back at once.
        await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
        pauseMs = Math.min(PAUSE_MS.most, 2 * pauseMs)
      }
    }
  }
  const polling = poll()

  return {
    async stop(graceMs) {
      stopping.abort()
      wake()
      await polling
      await Promise.race([Promise.all(running.keys()), sleep(graceMs)])
      await Promise.all([...running.values()].map((returnToQueue) => returnToQueue()))
    },
  }
}

/** `https://sqs.eu-central-1.amazonaws.com/...`; elsewhere AWS_REGION says it. */
function regionIn(url: string): string | undefined {
  return /^sqs\.([a-z0-9-]+)\./.exec(new URL(url).hostname)?.[1]
}

function attributesOf(carrier: Record<string, string>) {
  const some = Object.entries(carrier).filter(([name, value]) => TRACE_HEADERS.includes(name) && value)
  return Object.fromEntries(some.map(([name, StringValue]) => [name, { DataType: 'String', StringValue }]))
}

function requestTimeout(): { abortSignal: AbortSignal } {
  return { abortSignal: AbortSignal.timeout(LATE_MS) }
}

/** What only the operator can mend. */
const SETUP_ERRORS =
  /NonExistentQueue|QueueDoesNotExist|AccessDenied|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|CredentialsProvider|InvalidAddress|Region is missing/

function toGlimpseError(what: string): (cause: unknown) => never {
  return (cause) => {
    if (isGlimpseError(cause)) throw cause
    const word = cause instanceof Error ? `${cause.name} ${cause.message}`.trim() : String(cause)
    if (SETUP_ERRORS.test(word)) throw badQueue(word, cause)
    throw new UpstreamError('queue_failed', `Expected SQS to ${what} but: ${word}.`, { cause })
  }
}

function badQueue(why: string, cause?: unknown): SetupError {
  return new SetupError(
    'bad_queue',
    `Expected GLIMPSE_QUEUE to name a FIFO queue in SQS that may be used but: ${why}. Check the address, the region and the permissions.`,
    { cause },
  )
}
