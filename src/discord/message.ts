// A Discord message -> the Question in it, or undefined when it does not ask the bot. Pure: recorded payloads can be
// replayed.

import { MessageType } from 'discord.js'
import { isSmallTalk, looksLikeQuestion } from '../chat/intent.ts'
import type { NearestPictures, Question, Trigger } from '../chat/question.ts'
import type { Message } from './payloads.ts'
import { isPicture, nearestPictures, pictureOf } from './pictures.ts'
import {
  channelKey,
  directKey,
  editedKey,
  lastAskedKey,
  type MessageTarget,
  messageKey,
  type Place,
  placeOf,
} from './target.ts'

/** What the message itself does not contain. */
export interface MessageContext {
  /** The bot's own user id. */
  me: string
  /** Milliseconds since 1970. */
  now: number
  /** Whether the bot has the Message Content intent. */
  messageContent: boolean
  /** Whether its channel is a thread, for a message without `channel_type`. */
  isThread?: boolean
  /** The server's locale. */
  locale?: string
}

/** @example questionOfMessage(parseMessage(dispatch.d), { me: '…', now: Date.now(), messageContent: false }) */
export function questionOfMessage(message: Message, context: MessageContext): Question | undefined {
  const { id, channel_id: channel, content, referenced_message: replied } = message
  const { me, now, locale } = context
  const asker = askerOf(message, context)
  if (asker === undefined) return undefined
  const place = placeOfMessage(message, context)
  const text = plainText(content, me)
  const trigger = triggerOf(message, place, text, context)
  if (trigger === undefined) return undefined

  const { pictures, owner } = picturesFor(message, trigger)
  const hasPictures = pictures.length > 0
  const repliedTo = repliedId(message)
  const isToUs = replied?.author?.id === me || undefined
  // A reply to another person's message is about that message, not about the asker's last question.
  const mayBeAboutLast = trigger === 'mention' && (hasPictures || repliedTo === undefined || isToUs)
  const { message_id: above, channel_id: aboveChannel = channel } =
    (isToUs && replied?.message_reference) || {}
  return {
    id: messageKey(id),
    platform: 'discord',
    trigger,
    asker: { id: asker, locale },
    isToUs,
    // The text of a message that does not address the bot is not kept.
    text: trigger === 'automatic' ? '' : text,
    pictures,
    owner,
    // The nearest first: the message replied to, the thread or direct messages, the message, the asker's last question.
    conversations: [
      repliedTo && messageKey(repliedTo),
      place === 'thread' && messageKey(channel),
      place === 'direct' && directKey(channel),
      messageKey(id),
      mayBeAboutLast && lastAskedKey(channel, asker),
    ].filter((key) => typeof key === 'string'),
    lastAsked: place === 'direct' ? directKey(channel) : lastAskedKey(channel, asker),
    channel: channelKey(channel),
    source: id,
    askedAt: now,
    route: {
      kind: 'message',
      channel,
      message: id,
      asker,
      place,
      // An answer of the bot replies to the message that it is about.
      above: above ? { channel: aboveChannel, message: above } : undefined,
      isBlind: (!hasPictures && isContentHidden(message, context)) || undefined,
    } satisfies MessageTarget,
  }
}

/** A message that got its first picture by an edit is a question of its own. Other edits are not. */
export function questionOfEdit(message: Message, context: MessageContext): Question | undefined {
  if (!message.attachments.some(isPicture)) return undefined
  const question = questionOfMessage(message, context)
  return question && { ...question, id: editedKey(message.id) }
}

/** The message that this one replies to, when Discord left it out and its picture may be needed. */
export function missingReference(
  message: Message,
  context: MessageContext,
): { channel: string; message: string } | undefined {
  const replied = repliedId(message)
  if (replied === undefined || message.referenced_message !== undefined) return undefined
  if (askerOf(message, context) === undefined || message.attachments.some(isPicture)) return undefined
  if (message.guild_id !== undefined && !isMentioned(message, context.me)) return undefined
  return { channel: message.message_reference?.channel_id ?? message.channel_id, message: replied }
}

/** The author, when it is a person: undefined for bots, webhooks and system messages. */
function askerOf({ author, type, webhook_id }: Message, { me }: MessageContext): string | undefined {
  const isPerson = author && !author.bot && author.id !== me && webhook_id === undefined
  return isPerson && (type === MessageType.Default || type === MessageType.Reply) ? author.id : undefined
}

function placeOfMessage({ guild_id, channel_type }: Message, { isThread }: MessageContext): Place {
  if (guild_id === undefined) return 'direct'
  return channel_type === undefined && isThread ? 'thread' : placeOf(channel_type)
}

function triggerOf(
  message: Message,
  place: Place,
  text: string,
  { me, messageContent }: MessageContext,
): Trigger | undefined {
  const hasPictures = message.attachments.some(isPicture)
  const hasWords = text !== '' && !isSmallTalk(text)
  const replied = repliedId(message)
  if (place === 'direct') return 'direct'
  if (isMentioned(message, me)) {
    // Discord adds a mention of the author to a reply: "thanks" as a reply to the bot does not ask anything.
    const isInText = message.content.includes(`<@${me}>`) || message.content.includes(`<@!${me}>`)
    if (isInText || hasPictures || replied === undefined) return 'mention'
    return hasWords ? 'follow_up' : undefined
  }
  if (replied !== undefined && message.referenced_message?.author?.id === me) {
    return hasWords || hasPictures ? 'follow_up' : undefined
  }
  if (!messageContent) return undefined
  const isToThread = place === 'thread' && replied === undefined && message.mentions.length === 0
  if (isToThread && looksLikeQuestion(text)) return 'follow_up'
  return hasPictures ? 'automatic' : undefined
}

function isMentioned({ mentions }: Message, me: string): boolean {
  return mentions.some(({ id }) => id === me)
}

/** A forward has a `message_reference` too, but is not a reply. */
function repliedId({ type, message_reference }: Message): string | undefined {
  return type === MessageType.Reply ? message_reference?.message_id : undefined
}

/** The text without mentions, with custom emoji by their names. */
function plainText(content: string, me: string): string {
  return content
    .replaceAll(`<@${me}>`, ' ')
    .replaceAll(`<@!${me}>`, ' ')
    .replace(/<a?(:\w+:)\d+>/g, '$1')
    .replace(/<(@[!&]?|#)\d+>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
}

/** Without a picture, a message to the bot has its first file, for the answer that it is not a picture. */
function picturesFor(message: Message, trigger: Trigger): NearestPictures {
  const { id, channel_id: channel, author, attachments } = message
  const nearest = nearestPictures(message)
  const [file] = attachments
  if (nearest.pictures.length > 0 || !file || trigger === 'follow_up') return nearest
  return { pictures: [pictureOf(file, { channel, id })], owner: author?.id }
}

/** Without the Message Content intent, Discord sends the message replied to without its contents. */
function isContentHidden(message: Message, { me, messageContent }: MessageContext): boolean {
  const { referenced_message: replied, guild_id } = message
  if (!replied || messageContent || guild_id === undefined || replied.author?.id === me) return false
  const { content, attachments, embeds, message_snapshots } = replied
  return content === '' && attachments.length + embeds.length + message_snapshots.length === 0
}
