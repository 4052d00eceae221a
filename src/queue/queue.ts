// The queue between the processes that receive chat events (producers) and those that answer them (consumers).
//
// Every implementation guarantees: delivery at least once; order within a group, groups in parallel; one delivery of an id
// sent twice within five minutes; a retry with backoff after a failure, and the dead-letter queue after five deliveries.

import { z } from 'zod'
import { questionSchema } from '../chat/question.ts'
import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'

/** Plain data. Pictures are sent as addresses only. */
export const messageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('question'), question: questionSchema }),
  /** The chat message or the file with this id was deleted, or of the message all but the files that are left. */
  z.object({
    kind: z.literal('withdraw'),
    id: z.string().min(1),
    filesLeft: z.array(z.string()).optional(),
  }),
])
export type Message = z.infer<typeof messageSchema>

export interface SendOptions {
  /** A message with an id that was sent within five minutes is not delivered. */
  deduplicationId: string
  /** Messages of one group are delivered one after another. */
  groupId: string
}

export interface Queue {
  /** For the start of a process. @throws SetupError `bad_queue` when the queue cannot keep the guarantees, UpstreamError */
  check(): Promise<void>
  /** Resolves when the queue has stored the message. @throws UpstreamError `queue_failed`, RequestError `message_too_large` */
  send(message: Message, options: SendOptions): Promise<void>
  /** Calls `handler` with each message until it is stopped. A handler that throws has failed. */
  consume(handler: MessageHandler, options?: ConsumeOptions): Consumer
}

/** @param endsAt when this process ends by itself, in milliseconds since 1970; absent: it does not */
export type MessageHandler = (message: Message, endsAt?: number) => Promise<void>

export interface ConsumeOptions {
  /** Messages handled at once, each of another group. Default 4. */
  concurrency?: number
  /** Called with errors, which hold no text of a message. Default: the log. */
  report?: (error: unknown) => void
}

export interface Consumer {
  /** Receives no more messages, and waits up to `graceMs` for handlers. Unfinished messages are delivered again. */
  stop(graceMs: number): Promise<void>
}

export const MAX_RECEIVES = 5
/**
 * Seconds for which a message is hidden, renewed HEARTBEATS times meanwhile as long as it is handled. After a death the next
 * delivery comes within this time: later than the lease of the dead process ends (chat/processor.ts, 30 s), and early enough for
 * an answer within a minute.
 */
export const HIDDEN_S = 45
export const HEARTBEATS = 4
/** Waits before a failed message is delivered again: 5, 15, 45, 135 s. In sum longer than a dead process' lease (chat/processor.ts). */
export const RETRY_MS = 5_000

/** @param receives deliveries so far */
export function retryDelayMs(receives: number, firstMs: number): number {
  return firstMs * 3 ** (receives - 1)
}

/** Identifies a question in the log without its platform, channel or message id. */
export function messageName(message: Message): string {
  const id = message.kind === 'question' ? message.question.id : message.id
  return sha256Hex(id).slice(0, 16)
}

/** @throws RequestError `bad_message`, which holds no text of the message */
export function parseBody(body: string): Message {
  try {
    return messageSchema.parse(JSON.parse(body))
  } catch {
    const message = 'Expected a question or a retraction from the queue but got something else.'
    throw new RequestError('bad_message', message)
  }
}
