// What waits between those who hear a question and those who answer it, in one process or in two machines.
//
// Whatever stands behind it: a message that was sent is delivered at least once; messages of a group come one at a time
// and in their order, while other groups go on; the same id sent twice within five minutes comes once; one whose work
// fails comes again after a while, and after five tries lies with the dead letters, out of everybody's way.

import { z } from 'zod'
import { questionSchema } from '../chat/question.ts'
import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'

/** Plain data, and never a picture. */
export const messageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('question'), question: questionSchema }),
  /** The message with this question is gone. */
  z.object({ kind: z.literal('withdraw'), id: z.string().min(1) }),
])
export type Message = z.infer<typeof messageSchema>

export interface SendOptions {
  /** Names this message: sent again it is not delivered again. */
  deduplicationId: string
  /** Those who share it wait for each other. */
  groupId: string
}

export interface Queue {
  /** Looks at the start whether it is there and keeps these promises. @throws SetupError `bad_queue`, UpstreamError */
  check(): Promise<void>
  /** Once this resolves the message is safe. @throws UpstreamError `queue_failed`, RequestError `message_too_large` */
  send(message: Message, options: SendOptions): Promise<void>
  /** Hands messages to `handler`, which fails by throwing. Goes on until it is stopped. */
  consume(handler: MessageHandler, options?: ConsumeOptions): Consumer
}

export type MessageHandler = (message: Message) => Promise<void>

export interface ConsumeOptions {
  /** Groups worked on at once. Default 4. */
  concurrency?: number
  /** Is told of what fails; never of what a message says. Default: the log. */
  report?: (error: unknown) => void
}

export interface Consumer {
  /** Takes nothing more and lets work finish, up to `graceMs`; what is left comes again, here or elsewhere. */
  stop(graceMs: number): Promise<void>
}

export const MAX_RECEIVES = 5
/** Before one whose work failed comes again: 5, 15, 45, 135 s. Longer than a claim whose holder died (chat/processor.ts). */
export const RETRY_MS = 5_000

/** @param receives how often it came so far */
export function retryDelayMs(receives: number, firstMs: number): number {
  return firstMs * 3 ** (receives - 1)
}

/** Names a job in the log without telling what platform, channel or message it is. */
export function messageName(message: Message): string {
  const id = message.kind === 'question' ? message.question.id : message.id
  return sha256Hex(id).slice(0, 16)
}

/** @throws RequestError `bad_message`, which holds nothing of it */
export function parseBody(body: string): Message {
  try {
    return messageSchema.parse(JSON.parse(body))
  } catch {
    throw new RequestError(
      'bad_message',
      'Expected a question or a withdrawal from the queue but got something else.',
    )
  }
}
