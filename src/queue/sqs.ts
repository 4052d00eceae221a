// The queue in SQS: a FIFO queue with a redrive policy, as serverless.yml makes it.
//
// Credentials, region and endpoint come the SDK's usual ways: AWS_REGION, AWS_ENDPOINT_URL_SQS, roles and profiles.

import { createHash } from 'node:crypto'
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message as Received,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
  type SQSClientConfig,
} from '@aws-sdk/client-sqs'
import { SpanKind } from '@opentelemetry/api'
import { AskError, SetupError, UpstreamError } from '../errors.ts'
import { count } from '../observe/metrics.ts'
import { carrierOut, traced } from '../observe/trace.ts'
import { type Consumer, parseBody, type Queue, type Work } from './queue.ts'

export interface SqsOptions extends SQSClientConfig {
  /** How long a message that is worked on stays hidden unless that is put off, which happens all along. Default 60 s. */
  hiddenS?: number
  /** Before one whose work failed comes again. Default 5 s. */
  againS?: number
}

const HIDDEN_S = 60
const AGAIN_S = 5
const CONCURRENCY = 4
/** SQS's own bound on a receive, and how long it may wait for something. */
const MOST_AT_ONCE = 10
const WAIT_S = 20
const MAX_BYTES = 1024 * 1024
/** After a receive that failed, doubled each time up to the larger. */
const PAUSE_MS = { first: 500, most: 30_000 }

/**
 * @param url of a FIFO queue: https://sqs.eu-central-1.amazonaws.com/123456789012/glimpse.fifo
 * @throws SetupError `bad_queue`
 */
export function sqsQueue(url: string, options: SqsOptions = {}): Queue {
  const { hiddenS = HIDDEN_S, againS = AGAIN_S, ...config } = options
  if (!URL.canParse(url) || !url.endsWith('.fifo')) {
    throw new SetupError(
      'bad_queue',
      `Expected the address of a FIFO queue (https://sqs...fifo) as GLIMPSE_QUEUE but got ${url}. Its order is what keeps a thread in order.`,
    )
  }
  const client = new SQSClient(config)

  const release = (handle: string, seconds: number) =>
    client.send(
      new ChangeMessageVisibilityCommand({
        QueueUrl: url,
        ReceiptHandle: handle,
        VisibilityTimeout: seconds,
      }),
    )

  return {
    async send(message, { id, group }) {
      const MessageBody = JSON.stringify(message)
      if (Buffer.byteLength(MessageBody) > MAX_BYTES) {
        throw new AskError(
          'message_too_large',
          `Expected a question of at most ${MAX_BYTES} bytes but got more.`,
        )
      }
      const command = new SendMessageCommand({
        QueueUrl: url,
        MessageBody,
        // SQS takes 128 characters of few kinds as names.
        MessageGroupId: hashed(group),
        MessageDeduplicationId: hashed(id),
        MessageAttributes: attributesOf(carrierOut()),
      })
      await client.send(command).catch((cause: unknown) => {
        throw failed('send', cause)
      })
      count('glimpse_queue_messages_total', { outcome: 'sent' })
    },

    consume(work, { concurrency = CONCURRENCY, report = () => {} } = {}): Consumer {
      const stopping = new AbortController()
      const running = new Map<string, Promise<void>>()
      const held = new Set<string>()

      const one = async (received: Received): Promise<void> => {
        const handle = received.ReceiptHandle!
        held.add(handle)
        const hold = setInterval(() => void release(handle, hiddenS).catch(report), (hiddenS * 1000) / 3)
        try {
          await workOn(received, work)
          clearInterval(hold)
          await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: handle }))
          count('glimpse_queue_messages_total', { outcome: 'done' })
        } catch (error) {
          clearInterval(hold)
          count('glimpse_queue_messages_total', { outcome: 'again' })
          report(error)
          await release(handle, againS).catch(report)
          throw error
        } finally {
          clearInterval(hold)
          held.delete(handle)
        }
      }

      /** Of one group, one after another; after one that failed the rest go back: they must not overtake it. */
      const group = async (messages: readonly Received[]): Promise<void> => {
        for (const [index, message] of messages.entries()) {
          const isFailed = await one(message).then(
            () => false,
            () => true,
          )
          if (!isFailed && !stopping.signal.aborted) continue
          const rest = messages.slice(index + 1)
          await Promise.all(rest.map(({ ReceiptHandle }) => release(ReceiptHandle!, 0).catch(report)))
          return
        }
      }

      const receive = async () => {
        let pauseMs: number = PAUSE_MS.first
        while (!stopping.signal.aborted) {
          const free = concurrency - running.size
          if (free <= 0) {
            await Promise.race(running.values())
            continue
          }
          try {
            const command = new ReceiveMessageCommand({
              QueueUrl: url,
              MaxNumberOfMessages: Math.min(MOST_AT_ONCE, free),
              WaitTimeSeconds: WAIT_S,
              VisibilityTimeout: hiddenS,
              MessageSystemAttributeNames: ['MessageGroupId'],
              MessageAttributeNames: ['All'],
            })
            const { Messages = [] } = await client.send(command, { abortSignal: stopping.signal })
            pauseMs = PAUSE_MS.first
            for (const [name, messages] of byGroup(Messages)) {
              // Another of a group that is at work here comes only when SQS believes it left us: it waits its turn.
              const task = (running.get(name) ?? Promise.resolve())
                .then(() => group(messages))
                .finally(() => {
                  if (running.get(name) === task) running.delete(name)
                })
              running.set(name, task)
            }
          } catch (error) {
            if (stopping.signal.aborted) return
            report(failed('receive', error))
            // Many processes that fail at once shall not all come back at once.
            await sleep(pauseMs * (0.5 + Math.random() / 2), stopping.signal)
            pauseMs = Math.min(PAUSE_MS.most, 2 * pauseMs)
          }
        }
      }

      const receiving = receive()
      return {
        async stop(graceMs) {
          stopping.abort()
          await receiving
          await Promise.race([Promise.allSettled(running.values()), sleep(graceMs)])
          await Promise.all([...held].map((handle) => release(handle, 0).catch(report)))
        },
      }
    },
  }
}

/** Runs `work` on what came, as part of the trace it was sent in. Throws for a body of another form. */
export async function workOn(
  { Body, MessageAttributes }: Pick<Received, 'Body' | 'MessageAttributes'>,
  work: Work,
): Promise<void> {
  const headers = Object.entries(MessageAttributes ?? {}).map(([name, value]) => [
    name,
    value.StringValue ?? '',
  ])
  await traced('answer', Object.fromEntries(headers), () => work(parseBody(Body ?? '')), SpanKind.CONSUMER)
}

function byGroup(messages: readonly Received[]): Map<string, Received[]> {
  const groups = new Map<string, Received[]>()
  for (const message of messages) {
    const name = message.Attributes?.MessageGroupId ?? message.MessageId!
    groups.set(name, [...(groups.get(name) ?? []), message])
  }
  return groups
}

function attributesOf(headers: Record<string, string>) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, StringValue]) => [name, { DataType: 'String', StringValue }]),
  )
}

function hashed(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function failed(what: string, cause: unknown): UpstreamError {
  const why = cause instanceof Error ? `${cause.name} ${cause.message}` : String(cause)
  return new UpstreamError('queue_failed', `Expected SQS to ${what} but: ${why}.`, { cause })
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
