// Where a question came from and how it is answered, and the names of conversations on Discord.

import { z } from 'zod'
import type { Question } from '../chat/question.ts'

/** Kept with the question, so that any process can answer it. */
const replyTargetSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('message'),
    channel: z.string(),
    message: z.string(),
    asker: z.string(),
    place: z.enum(['channel', 'thread', 'direct']),
    /** What the answer of ours that it replies to was about. */
    above: z.object({ channel: z.string(), message: z.string() }).optional(),
    /** It replies to a message whose contents Discord does not show us. */
    isBlind: z.boolean().optional(),
  }),
  /** Answered through the interaction's own address, which works for 15 minutes. */
  z.object({
    kind: z.literal('interaction'),
    application: z.string(),
    token: z.string(),
    isEphemeral: z.boolean(),
  }),
])
export type ReplyTarget = z.infer<typeof replyTargetSchema>
export type MessageTarget = Extract<ReplyTarget, { kind: 'message' }>
export type InteractionTarget = Extract<ReplyTarget, { kind: 'interaction' }>
export type Place = MessageTarget['place']

/** `PUBLIC_THREAD` and its kin (resource "Channel", "Channel types"). */
const THREAD_TYPES = new Set([10, 11, 12])
const DIRECT_TYPES = new Set([1, 3])

export function replyTargetOf({ route }: Question): ReplyTarget {
  return replyTargetSchema.parse(route)
}

export function isThreadType(type: number | undefined): boolean {
  return type !== undefined && THREAD_TYPES.has(type)
}

export function isDirectType(type: number | undefined): boolean {
  return type !== undefined && DIRECT_TYPES.has(type)
}

/** A thread has the id of the message it hangs on, so this names the thread's conversation too. */
export function messageKey(id: string): string {
  return `discord/message/${id}`
}

export function directKey(channel: string): string {
  return `discord/channel/${channel}`
}

/** What one person asked about last in a channel. */
export function lastAskedKey(channel: string, user: string): string {
  return `discord/asker/${channel}/${user}`
}

export function interactionKey(id: string): string {
  return `discord/interaction/${id}`
}

/** The same message, once somebody added a picture to it. */
export function editedKey(id: string): string {
  return `${messageKey(id)}/edited`
}

/** Where automatic captions are switched on. */
export function channelKey(channel: string): string {
  return `discord/${channel}`
}
