// Where a question came from and how it is answered, and the ids and store keys of messages, threads, channels and
// people on Slack.

import { z } from 'zod'
import type { Question } from '../chat/question.ts'

export function questionId({ team, channel }: { team: string; channel: string }, ts: string): string {
  return `slack/${team}/${channel}/${ts}`
}

/** A thread is named by its first message. */
export function conversationKey({ team, channel }: { team: string; channel: string }, ts: string): string {
  return `slack/${team}/${channel}/${ts}`
}

export function personId(team: string, user: string): string {
  return `${team}/${user}`
}

/** Where automatic captions are switched on. */
export function channelKey(team: string, channel: string): string {
  return `slack/${team}/${channel}`
}

/** How a question is to be answered: kept with it. */
const replyTargetSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('message'),
    team: z.string(),
    channel: z.string(),
    user: z.string(),
    isDirect: z.boolean(),
    /** Absent: beside the question, not in a thread. */
    thread_ts: z.string().optional(),
  }),
  /** A shortcut's or command's own address: what is said there only the asker sees. */
  z.object({
    kind: z.literal('response'),
    team: z.string(),
    url: z.string(),
    user: z.string(),
    thread_ts: z.string().optional(),
  }),
])

export type ReplyTarget = z.infer<typeof replyTargetSchema>

export type MessageTarget = Extract<ReplyTarget, { kind: 'message' }>

export function replyTargetOf({ route }: Question): ReplyTarget {
  return replyTargetSchema.parse(route)
}

export function editedId(id: string): string {
  return `${id}/edited`
}
