// A Slack message -> the Question in it, if there is one for us. Pure: what only Slack could tell is asked later.

import { looksLikeQuestion } from '../chat/intent.ts'
import type { Question, Trigger } from '../chat/question.ts'
import type { SlackMessage } from './payloads.ts'
import { isPicture, picturesOf } from './pictures.ts'
import { channelKey, conversationKey, personId, questionId } from './target.ts'

/** Where a message stands and who reads it. */
export interface MessageContext {
  team: string
  channel: string
  isDirect: boolean
  /** The bot's own user id. */
  me: string
  now: number
}

/** Posted by people; all others (joins, topics, bots) are none of our business. */
const SUBTYPES = new Set([undefined, null, 'file_share', 'thread_broadcast'])

export function questionOfMessage(message: SlackMessage, context: MessageContext): Question | undefined {
  const { user } = message
  if (!user || user === context.me || message.bot_id || !SUBTYPES.has(message.subtype)) return undefined
  const { pictures, owner } = picturesOf(message)
  const hasOwn = (message.files ?? []).some(isPicture)
  const trigger = triggerOf(message, hasOwn, context)
  if (!trigger) return undefined
  const threadTs = message.thread_ts ?? undefined
  const thread = conversationKey(context, threadTs ?? message.ts)
  const direct = channelKey(context.team, context.channel)
  // In a direct message people go on below, not only in the thread: there the last picture is meant.
  const conversations = !context.isDirect
    ? [thread]
    : threadTs || pictures.length > 0
      ? [thread, direct]
      : [direct]
  const standsAlone = context.isDirect && !threadTs && pictures.length === 0
  return {
    id: questionId(context, message.ts),
    platform: 'slack',
    trigger,
    asker: { id: personId(context.team, user) },
    text: plainText(message.text ?? '', context.me),
    pictures,
    owner: owner === undefined ? undefined : personId(context.team, owner),
    conversations,
    channel: direct,
    source: message.ts,
    askedAt: context.now,
    route: {
      kind: 'message',
      team: context.team,
      channel: context.channel,
      user,
      isDirect: context.isDirect,
      ...(standsAlone ? {} : { thread_ts: threadTs ?? message.ts }),
    },
  }
}

function triggerOf(
  message: SlackMessage,
  hasPictures: boolean,
  { isDirect, me }: MessageContext,
): Trigger | undefined {
  const text = message.text ?? ''
  if (isDirect) return 'direct'
  if (mentions(text, me)) return 'mention'
  const isReply = message.thread_ts && message.thread_ts !== message.ts
  if (isReply && !hasPictures && !/<@[A-Z0-9]+/.test(text) && looksLikeQuestion(plainText(text, me))) {
    return 'follow_up'
  }
  return hasPictures ? 'automatic' : undefined
}

export function mentions(text: string, me: string): boolean {
  return new RegExp(`<@${me}(\\||>)`).test(text)
}

/** Slack's markup as a person would have typed it, without the bot's name. */
export function plainText(text: string, me: string): string {
  return text
    .replace(new RegExp(`<@${me}(\\|[^>]*)?>[,:]?`, 'g'), ' ')
    .replace(/<([@#!])([^>|]*)(?:\|([^>]*))?>/g, (_, kind: string, id: string, label?: string) =>
      kind === '!' ? (label ?? '') : `${kind}${label ?? id}`,
    )
    .replace(/<([^>|]*)(?:\|([^>]*))?>/g, (_, address: string, label?: string) => label ?? address)
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')
    .replace(/[^\S\n]+/g, ' ')
    .trim()
}
