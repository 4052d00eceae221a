// The reply target of a question, and the ids and store keys of messages, channels and people on Discord.

import { ChannelType } from 'discord.js'
import { z } from 'zod'
import type { Question } from '../chat/question.ts'

/** The key of a message, and of the thread on it, which has the same id. */
export function messageKey(id: string): string {
  return `discord/message/${id}`
}

/** The question of a message that got a picture by an edit. */
export function editedKey(id: string): string {
  return `${messageKey(id)}/edited`
}

export function directKey(channel: string): string {
  return `discord/channel/${channel}`
}

/** The conversation of one person's last question in a channel. */
export function lastAskedKey(channel: string, user: string): string {
  return `discord/asker/${channel}/${user}`
}

export function interactionKey(id: string): string {
  return `discord/interaction/${id}`
}

/** Key of a channel's settings. */
export function channelKey(channel: string): string {
  return `discord/${channel}`
}

/** Stored with the question, so that any process can answer it. */
const replyTargetSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('message'),
    channel: z.string(),
    message: z.string(),
    asker: z.string(),
    place: z.enum(['channel', 'thread', 'direct']),
    /** The question replies to an answer of the bot; this is the message that the answer replied to. */
    above: z.object({ channel: z.string(), message: z.string() }).optional(),
    /** The question replies to a message whose contents Discord hides from the bot. */
    isBlind: z.boolean().optional(),
  }),
  /** Answered through the interaction's token, which is valid for 15 minutes. */
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

export function replyTargetOf({ route }: Question): ReplyTarget {
  return replyTargetSchema.parse(route)
}

const { AnnouncementThread, DM, GroupDM, PrivateThread, PublicThread } = ChannelType
const THREADS: (ChannelType | undefined)[] = [AnnouncementThread, PrivateThread, PublicThread]

/** The kind of a channel of this type. */
export function placeOf(type: ChannelType | undefined): Place {
  if (THREADS.includes(type)) return 'thread'
  return type === DM || type === GroupDM ? 'direct' : 'channel'
}
