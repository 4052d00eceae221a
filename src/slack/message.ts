// A Slack message -> the Question in it, or undefined when it does not ask the bot. Pure: recorded payloads can be replayed.

import { looksLikeQuestion } from '../chat/intent.ts'
import { type Question, type Trigger, undescribed } from '../chat/question.ts'
import type { SlackMessage, SlackMessageEvent } from './payloads.ts'
import { isPicture, picturesOf } from './pictures.ts'
import { channelKey, editedKey, type MessageTarget, messageKey, personId, sharedKey } from './target.ts'

/** What the event says about a message besides its text. */
export interface MessageContext {
  team: string
  channel: string
  isDirect: boolean
  /** The bot's own user id. */
  me: string
  /** Milliseconds since 1970. */
  now: number
}

/** Subtypes of messages that people write. Joins, topics and bots have others. */
const SUBTYPES = new Set([undefined, 'file_share', 'thread_broadcast', 'me_message'])

const LINK = /<https?:/i

export function questionOfMessage(message: SlackMessage, context: MessageContext): Question | undefined {
  const { user, thread_ts, ts } = message
  const { team, channel, isDirect, me, now } = context
  if (!user || user === me || message.bot_id || !SUBTYPES.has(message.subtype)) return undefined
  const text = plainText(message.text, me)
  const trigger = triggerOf(message, text, context)
  if (!trigger) return undefined
  const { pictures: all, owner } = picturesOf(message)
  const shown = trigger === 'automatic' ? undescribed(all) : all
  if (trigger === 'automatic' && shown.length === 0) return undefined
  const [file] = message.files
  // For the answer that it is not a picture. Without a type, files.info says it.
  if (shown.length === 0 && file && trigger !== 'follow_up')
    shown.push({ id: file.id, name: file.name, otherType: file.mimetype })
  // Those of a message that this one quotes have another author, or none.
  const postedIn = owner === user ? messageKey(context, ts) : undefined
  const pictures = shown.map((picture) => ({ ...picture, postedIn }))
  // Without a thread, a direct message without a picture is about the last picture of the conversation.
  const thread = thread_ts ?? (isDirect && pictures.length === 0 ? undefined : ts)
  const conversations = thread ? [messageKey(context, thread)] : []
  if (isDirect) conversations.push(channelKey(team, channel))
  return {
    id: messageKey(context, ts),
    platform: 'slack',
    trigger,
    asker: { id: personId(team, user) },
    text,
    pictures,
    hasUnseen: (pictures.length === 0 && showsUnseen(message)) || undefined,
    owner: owner && personId(team, owner),
    conversations,
    lastAsked: isDirect ? channelKey(team, channel) : undefined,
    channel: channelKey(team, channel),
    source: ts,
    message: isDirect ? undefined : sharedKey(channel, ts),
    askedAt: now,
    route: {
      kind: 'message',
      team,
      channel,
      user,
      isDirect,
      thread_ts: thread,
      named: trigger === 'automatic' ? namedIn(message.text) : undefined,
    } satisfies MessageTarget,
  }
}

/**
 * A message that got its first picture or the mention by an edit asks anew. Other edits do not. Slack also edits a message
 * when it has read what a link in it points to.
 */
export function questionOfEdit(
  { message, previous_message: previous }: SlackMessageEvent,
  context: MessageContext,
): Question | undefined {
  // Without the previous message it is unknown what is new.
  const question = message && previous && questionOfMessage(message, context)
  if (!question) return undefined
  const gotFiles = previous.files.length === 0 && message.files.length > 0
  if (gotFiles) {
    const shared = question.message && `${question.message}/edited`
    return { ...question, id: editedKey(context, message.ts), message: shared }
  }
  const gotMention = question.trigger === 'mention' && !isMentioned(previous, context.me)
  const gotPictures = question.pictures.length > 0 && picturesOf(previous).pictures.length === 0
  // The same id as of the message itself, which asked nothing yet, or still waits (`mayGetPictures`).
  return gotMention || gotPictures ? question : undefined
}

/** Ids of the files that an edit removed from a message, or that were deleted while it stays. */
export function removedFiles({ message, previous_message: previous }: SlackMessageEvent): string[] {
  const isGone = ({ mode }: SlackMessage['files'][number]) => mode === 'tombstone'
  const left = (message?.files ?? []).filter((file) => !isGone(file)).map(({ id }) => id)
  return (previous?.files ?? [])
    .filter((file) => !isGone(file) && !left.includes(file.id))
    .map(({ id }) => id)
}

/**
 * Whether the message shows what the app cannot fetch: other files, pictures of other sites, a link's preview. A link alone
 * will have a preview; in a thread it may as well be beside a question about the thread's picture.
 */
function showsUnseen({ files, attachments, blocks, text, thread_ts }: SlackMessage): boolean {
  if (files.length + attachments.length > 0) return true
  return (!thread_ts && LINK.test(text)) || /"image_url":/.test(JSON.stringify(blocks ?? ''))
}

/** Whether Slack may soon edit pictures into the message: it has a link, and no picture yet. */
export function mayGetPictures({ text }: SlackMessage, { pictures }: Question): boolean {
  return pictures.length === 0 && LINK.test(text)
}

function triggerOf(
  { text: markup, files, thread_ts, ts }: SlackMessage,
  text: string,
  { isDirect, me }: MessageContext,
): Trigger | undefined {
  if (isDirect) return 'direct'
  if (isMentioned({ text: markup }, me)) return 'mention'
  const isReply = thread_ts && thread_ts !== ts
  if (isReply && !/<@[A-Z0-9]+/.test(markup) && looksLikeQuestion(text)) return 'follow_up'
  return files.some(isPicture) ? 'automatic' : undefined
}

function isMentioned({ text }: Pick<SlackMessage, 'text'>, me: string): boolean {
  return new RegExp(`<@${me}(\\||>)`).test(text)
}

/** Ids of the users that a text names; undefined for none. */
function namedIn(text: string): string[] | undefined {
  const named = [...text.matchAll(/<@([A-Z0-9]+)(?:\||>)/g)].map(([, id]) => id!)
  return named.length > 0 ? [...new Set(named)] : undefined
}

/** Slack's markup as typed text, without mentions: the model knows no names. A date keeps its words. */
export function plainText(text: string, me: string): string {
  return text
    .replace(new RegExp(`<@${me}(\\|[^>]*)?>[,:]?`, 'g'), ' ')
    .replace(/<!date\^[^>|]*\|([^>]*)>/g, '$1')
    .replace(/<[@#!][^>]*>/g, ' ')
    .replace(/(?<![\p{L}\p{N}])([*_~`]+)(?=\S)(.*?\S)\1(?![\p{L}\p{N}])/gu, '$2')
    .replace(/<([^>|]*)(?:\|([^>]*))?>/g, (_, address: string, label?: string) => label ?? address)
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')
    .replace(/[^\S\n]+/g, ' ')
    .trim()
}
