// A Discord message -> the Question in it, or undefined when it does not ask the bot. Pure: recorded payloads can be
// replayed.

import { MessageType } from 'discord.js'
import { isSmallTalk, looksLikeQuestion } from '../chat/intent.ts'
import { type NearestPictures, type Question, type Trigger, undescribed } from '../chat/question.ts'
import type { Message } from './payloads.ts'
import {
  emojiIn,
  hasLink,
  isPicture,
  isTyped,
  nearestPictures,
  pictureOf,
  picturesOf,
  showsUnseen,
} from './pictures.ts'
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
  /** Id of the bot's own role in the server: a mention of it is a mention of the bot. */
  role?: string
}

/** What is remembered of a message, to compare an edit with. */
export interface Earlier {
  /** Ids of its attachments. */
  files: readonly string[]
  isMention: boolean
  hasPictures: boolean
}

/** @example questionOfMessage(parseMessage(dispatch.d), { me: '…', now: Date.now(), messageContent: false }) */
export function questionOfMessage(message: Message, context: MessageContext): Question | undefined {
  const { id, channel_id: channel, content, referenced_message: replied } = message
  const { me, now, locale } = context
  const asker = askerOf(message, context)
  if (asker === undefined) return undefined
  const place = placeOfMessage(message, context)
  const words = plainText(content)
  const trigger = triggerOf(message, place, words, context)
  if (trigger === undefined) return undefined

  const emoji = emojiAsked(message, trigger, place, words)
  const { pictures, owner } = emoji ?? picturesFor(message, trigger)
  if (trigger === 'automatic' && pictures.length === 0) return undefined
  const text = emoji?.text ?? words
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
    // In a thread, a link may as well be beside a question about the thread's picture.
    hasUnseen:
      (!hasPictures && showsUnseen(place === 'thread' ? { ...message, content: '' } : message)) || undefined,
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

/**
 * A message that got its first picture or the mention by an edit asks anew. Other edits do not. Discord also edits a message
 * when it has read what a link in it points to.
 */
export function questionOfEdit(
  message: Message,
  context: MessageContext,
  before: Earlier = { files: [], isMention: true, hasPictures: false },
): Question | undefined {
  const question = questionOfMessage(message, context)
  if (!question) return undefined
  const gotFiles = before.files.length === 0 && message.attachments.some(isPicture)
  if (gotFiles) return { ...question, id: editedKey(message.id) }
  const gotMention = question.trigger === 'mention' && !before.isMention
  const gotPictures = question.pictures.length > 0 && !before.hasPictures
  // The same id as of the message itself, which asked nothing yet, or still waits (`mayGetPictures`).
  return gotMention || gotPictures ? question : undefined
}

/**
 * The same for an edit of a message that is not remembered. One that addresses the bot asks unless it has asked before, as
 * far as jobs know. Of other messages it is unknown what is new.
 */
export function questionOfUnknownEdit(message: Message, context: MessageContext): Question | undefined {
  const question = questionOfMessage(message, context)
  if (!question || question.trigger === 'automatic') return undefined
  if (question.trigger === 'follow_up' && !question.isToUs) return undefined
  if (!message.attachments.some(isPicture)) return question
  // A picture that was added asks anew, and one that was there does not.
  return { ...question, id: editedKey(message.id), editOf: question.id }
}

/** Ids of all pictures that a message shows. */
export function filesIn(message: Message): string[] {
  const shown = [...picturesOf(message, message.channel_id).pictures, ...emojiIn(message.content)]
  return [...message.attachments, ...shown].map(({ id }) => id)
}

/** What to remember of a message, until it is edited. */
export function earlierOf(message: Message, context: MessageContext): Earlier {
  return {
    files: message.attachments.map(({ id }) => id),
    isMention: isMentioned(message, context),
    hasPictures: picturesOf(message, message.channel_id).pictures.length > 0,
  }
}

/** Whether Discord may soon edit pictures into the message: it addresses the bot and has a link, and no picture yet. */
export function mayGetPictures({ content }: Message, { pictures, trigger }: Question): boolean {
  return pictures.length === 0 && trigger !== 'automatic' && hasLink(content)
}

/** The message that this one replies to, when Discord left it out and its picture may be needed. */
export function missingReference(
  message: Message,
  context: MessageContext,
): { channel: string; message: string } | undefined {
  const replied = repliedId(message)
  if (replied === undefined || message.referenced_message !== undefined) return undefined
  if (askerOf(message, context) === undefined || message.attachments.some(isPicture)) return undefined
  if (message.guild_id !== undefined && !isMentioned(message, context)) return undefined
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
  context: MessageContext,
): Trigger | undefined {
  const { me, messageContent } = context
  // Stickers and previews of links are described when somebody asks, as are forwards: their owner is unknown.
  const hasPictures = message.attachments.some(isPicture)
  const hasWords = text !== '' && !isSmallTalk(text)
  const replied = repliedId(message)
  if (place === 'direct') return 'direct'
  if (isMentioned(message, context)) {
    // Discord adds a mention of the author to a reply: "thanks" as a reply to the bot does not ask anything.
    const names = [`<@${me}>`, `<@!${me}>`, `<@&${context.role}>`]
    const isInText = names.some((name) => message.content.includes(name))
    if (isInText || hasPictures || replied === undefined) return 'mention'
    return hasWords ? 'follow_up' : undefined
  }
  if (replied !== undefined && message.referenced_message?.author?.id === me) {
    return hasWords || hasPictures ? 'follow_up' : undefined
  }
  if (!messageContent) return undefined
  const isToThread = place === 'thread' && replied === undefined && message.mentions.length === 0
  if (isToThread && looksLikeQuestion(text)) return 'follow_up'
  // A picture for another bot.
  const isForOther = message.mentions.some(({ bot }) => bot)
  return hasPictures && !isForOther ? 'automatic' : undefined
}

/** By its name, or by the name of its own role. */
function isMentioned({ mentions, mention_roles }: Message, { me, role }: MessageContext): boolean {
  return mentions.some(({ id }) => id === me) || (role !== undefined && mention_roles.includes(role))
}

/** A forward has a `message_reference` too, but is not a reply. */
function repliedId({ type, message_reference }: Message): string | undefined {
  return type === MessageType.Reply ? message_reference?.message_id : undefined
}

/**
 * The text without mentions, commands, timestamps and formatting, with custom emoji by their names ("Message formatting").
 */
function plainText(content: string): string {
  return content
    .replace(/<a?(:\w+:)\d+>/g, '$1')
    .replace(/<(@[!&]?|#)\d+>|<\/[^:>]+:\d+>|<t:-?\d+(:\w)?>|<id:\w+>|@(everyone|here)\b/g, ' ')
    .replace(/^(#{1,3}|-#|>{1,3}) +/gm, '')
    .replace(/(?<![\p{L}\p{N}])(\*{1,3}|__?|~~|`{1,3}|\|\|)(?=\S)(.*?\S)\1(?![\p{L}\p{N}])/gsu, '$2')
    .replace(/\s+/g, ' ')
    .trim()
}

/** Words that ask about an emoji beside them, and about nothing else. */
const ABOUT_EMOJI =
  /^((and |so )?(what|who)('s| is| are)|describe|caption|alt text( for)?|explain)?( (this|that|it|these))?( one)?\W*$|\b(emoji|emote|sticker)s?\b|絵文字/i

/**
 * Custom emoji as the pictures of a question, where they are what it is about: in place of words, or beside words such as
 * "what is". Elsewhere they decorate a text.
 */
function emojiAsked(
  message: Message,
  trigger: Trigger,
  place: Place,
  words: string,
): (NearestPictures & { text: string }) | undefined {
  const { id, content, author } = message
  if (trigger !== 'mention' && trigger !== 'direct') return undefined
  if (nearestPictures(message).pictures.length > 0 || repliedId(message) !== undefined) return undefined
  const pictures = emojiIn(content).map((picture) => ({ ...picture, postedIn: messageKey(id) }))
  if (pictures.length === 0) return undefined
  const names = pictures.map(({ name }) => `:${name}:`)
  const text = names
    .reduce((left, name) => left.replaceAll(name, ' '), words)
    .replace(/\s+/g, ' ')
    .trim()
  // In a conversation, an emoji in place of words is a reaction to what was said.
  if (!ABOUT_EMOJI.test(text) || (text === '' && place === 'thread')) return undefined
  const isNamed = text === '' || /\b(this|that|it|these|emoji|emote|sticker)s?\b|絵文字/i.test(text)
  return { pictures, owner: author?.id, text: isNamed ? text : text.replace(/\s*(\W*)$/, ' this$1') }
}

/** Without a picture, a message to the bot has its first file, for the answer that it is not a picture. */
function picturesFor(message: Message, trigger: Trigger): NearestPictures {
  const { id, channel_id: channel, author, attachments } = message
  const nearest = nearestPictures(message)
  if (trigger === 'automatic') return { ...nearest, pictures: undescribed(nearest.pictures) }
  const [file] = attachments
  if (nearest.pictures.length > 0 || !file || trigger === 'follow_up') return nearest
  // By a name alone it is not known what it is: the decoder tells.
  const otherType = isTyped(file) ? file.content_type : undefined
  const picture = { ...pictureOf(file, { channel, id }), otherType }
  return { pictures: [picture], owner: author?.id }
}

/** Whether Discord leaves out the contents of this message: it addresses other people, and the bot has no intent for it. */
export function isHidden(message: Message, context: MessageContext): boolean {
  if (context.messageContent || message.guild_id === undefined) return false
  return !message.mentions.some(({ id }) => id === context.me) && message.author?.id !== context.me
}

/** Without the Message Content intent, Discord sends the message replied to without its contents. */
function isContentHidden(message: Message, context: MessageContext): boolean {
  const { me, messageContent } = context
  const { referenced_message: replied, guild_id } = message
  // A mention of the bot's role alone does not show it the message itself.
  if (isHidden(message, context) && message.content === '') return true
  if (!replied || messageContent || guild_id === undefined || replied.author?.id === me) return false
  const { content, attachments, embeds, message_snapshots } = replied
  return content === '' && attachments.length + embeds.length + message_snapshots.length === 0
}
