// The reply target of a question, and the ids and store keys of messages, channels and people on Slack.

import { z } from 'zod'
import type { Question } from '../chat/question.ts'

/** `ts` identifies a message in its channel. The key of a thread is that of its first message. */
export function messageKey({ team, channel }: { team: string; channel: string }, ts: string): string {
  return `slack/${team}/${channel}/${ts}`
}

/** The question of a message that got a picture by an edit. */
export function editedKey(place: { team: string; channel: string }, ts: string): string {
  return `${messageKey(place, ts)}/edited`
}

/** Names a message of a channel for all installations that share the channel. */
export function sharedKey(channel: string, ts: string): string {
  return `slack/${channel}/${ts}`
}

export function personId(team: string, user: string): string {
  return `${team}/${user}`
}

/** Key of a channel's settings, and of the conversation in a direct message. */
export function channelKey(team: string, channel: string): string {
  return `slack/${team}/${channel}`
}

/** The `response_url` of a shortcut or command: only its user sees the reply. */
export const responseSchema = z.object({
  kind: z.literal('response'),
  team: z.string(),
  url: z.string(),
  user: z.string(),
  thread_ts: z.string().optional(),
})

/** Stored with the question, so that any process can answer it. */
const replyTargetSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('message'),
    team: z.string(),
    channel: z.string(),
    user: z.string(),
    isDirect: z.boolean(),
    /** Absent: the reply is posted in the channel, not in a thread. */
    thread_ts: z.string().optional(),
    /** Ids of the users that the message names, without the bot itself. */
    named: z.array(z.string()).optional(),
  }),
  responseSchema,
])
export type ReplyTarget = z.infer<typeof replyTargetSchema>
export type MessageTarget = Extract<ReplyTarget, { kind: 'message' }>

export function replyTargetOf({ route }: Question): ReplyTarget {
  return replyTargetSchema.parse(route)
}
