// A message on Discord -> a question, or nothing where it is none of ours. Pure: recorded payloads can be replayed at it.

import { isSmallTalk, looksLikeQuestion } from '../chat/intent.ts'
import type { PictureRef, Question, Trigger } from '../chat/question.ts'
import { type Message, messageSchema, parsePayload } from './payloads.ts'
import { isPicture, type NearestPictures, nearestIn, ownPictures, pictureOf } from './pictures.ts'
import {
  channelKey,
  directKey,
  editedKey,
  isThreadType,
  lastAskedKey,
  type MessageTarget,
  messageKey,
  type Place,
} from './target.ts'

/** What a message does not say itself. */
export interface MessageContext {
  /** The bot's own user id. */
  me: string
  /** Milliseconds since 1970. */
  now: number
  /** Whether contents come that are not addressed to the bot. */
  messageContent: boolean
  /** Whether its channel is a thread, for a message that does not say so. */
  isThread?: boolean
  /** Of the server it is in. */
  locale?: string
}

/** Types of messages that people write: `DEFAULT` and `REPLY` (resource "Message", "Message types"). */
const DEFAULT = 0
const REPLY = 19

/**
 * @throws UpstreamError `discord_payload` for what is no message at all
 * @example questionOfMessage(dispatch.d, { me: '…', now: Date.now(), messageContent: false })
 */
export function questionOfMessage(payload: unknown, context: MessageContext): Question | undefined {
  const message = parsePayload(messageSchema, payload, 'a message')
  const asker = askerOf(message, context)
  if (asker === undefined) return undefined
  const place = placeOf(message, context)
  const text = textOf(message.content, context.me)
  const trigger = triggerOf(message, place, text, context)
  if (trigger === undefined) return undefined

  const { pictures, owner } = picturesFor(message, trigger)
  return {
    id: messageKey(message.id),
    platform: 'discord',
    trigger,
    asker: { id: asker, locale: context.locale },
    isToUs: message.referenced_message?.author?.id === context.me || undefined,
    // Nobody asked: what they wrote is not for us.
    text: trigger === 'automatic' ? '' : text,
    pictures,
    owner,
    conversations: conversationsOf(message, place, trigger, pictures, asker, context.me),
    channel: channelKey(message.channel_id),
    source: message.id,
    askedAt: context.now,
    route: {
      kind: 'message',
      channel: message.channel_id,
      message: message.id,
      asker,
      place,
      above: repliedToPicture(message, context),
      isBlind: (pictures.length === 0 && isContentHidden(message, context)) || undefined,
    } satisfies MessageTarget,
  }
}

/** A message that got a picture after it was posted is a question of its own; other edits are none. */
export function questionOfEdit(payload: unknown, context: MessageContext): Question | undefined {
  const message = parsePayload(messageSchema, payload, 'a message')
  if (!message.attachments.some(isPicture)) return undefined
  const question = questionOfMessage(payload, context)
  return question && { ...question, id: editedKey(message.id) }
}

/** The message that this one replies to, where Discord did not send it along and its picture may be meant. */
export function missingReference(
  payload: unknown,
  context: MessageContext,
): { channel: string; message: string } | undefined {
  const message = parsePayload(messageSchema, payload, 'a message')
  const replied = repliedId(message)
  if (replied === undefined || message.referenced_message !== undefined) return undefined
  if (askerOf(message, context) === undefined || message.attachments.some(isPicture)) return undefined
  if (message.guild_id !== undefined && !isMentioned(message, context.me)) return undefined
  return { channel: message.message_reference?.channel_id ?? message.channel_id, message: replied }
}

/** Bots, webhooks and what Discord writes itself are never answered. */
function askerOf({ author, type, webhook_id }: Message, { me }: MessageContext): string | undefined {
  const isPerson = author && !author.bot && author.id !== me && webhook_id === undefined
  return isPerson && (type === DEFAULT || type === REPLY) ? author.id : undefined
}

function placeOf(message: Message, { isThread }: MessageContext): Place {
  if (message.guild_id === undefined) return 'direct'
  const isInThread = message.channel_type === undefined ? isThread : isThreadType(message.channel_type)
  return isInThread ? 'thread' : 'channel'
}

function triggerOf(
  message: Message,
  place: Place,
  text: string,
  context: MessageContext,
): Trigger | undefined {
  const { me, messageContent } = context
  const hasPictures = message.attachments.some(isPicture)
  const replied = repliedId(message)
  if (place === 'direct') return 'direct'
  if (isMentioned(message, me)) {
    // A reply mentions whom it replies to by itself: "thanks" to an answer of ours asks for nothing.
    if (isMentionedInText(message, me) || hasPictures || replied === undefined) return 'mention'
    return text === '' || isSmallTalk(text) ? undefined : 'follow_up'
  }
  if (replied !== undefined && message.referenced_message?.author?.id === me) {
    return (text === '' || isSmallTalk(text)) && !hasPictures ? undefined : 'follow_up'
  }
  if (!messageContent) return undefined
  const isForThread = place === 'thread' && replied === undefined && message.mentions.length === 0
  if (isForThread && looksLikeQuestion(text)) return 'follow_up'
  return hasPictures ? 'automatic' : undefined
}

function isMentioned({ mentions }: Message, me: string): boolean {
  return mentions.some(({ id }) => id === me)
}

function isMentionedInText({ content }: Message, me: string): boolean {
  return content.includes(`<@${me}>`) || content.includes(`<@!${me}>`)
}

/** A forward refers to a message too, but is no reply. */
function repliedId({ type, message_reference }: Message): string | undefined {
  return type === REPLY ? message_reference?.message_id : undefined
}

/** Words without mentions; of emoji of a server their names. */
function textOf(content: string, me: string): string {
  return content
    .replaceAll(`<@${me}>`, ' ')
    .replaceAll(`<@!${me}>`, ' ')
    .replace(/<a?(:\w+:)\d+>/g, '$1')
    .replace(/<(@[!&]?|#)\d+>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
}

/** Its own, what it forwards, what it replies to; else, for whoever addressed us, a file that is told to be no picture. */
function picturesFor(message: Message, trigger: Trigger): NearestPictures {
  const channel = message.channel_id
  // What a forward shows may be of somebody who wants it left alone: only when asked.
  if (trigger === 'automatic') {
    return { pictures: ownPictures(message, channel), owner: message.author?.id }
  }
  const own = nearestIn(message, channel)
  if (own.pictures.length > 0) return own
  const { referenced_message: replied, message_reference } = message
  const theirs = replied ? nearestIn(replied, message_reference?.channel_id ?? channel) : undefined
  if (theirs && theirs.pictures.length > 0) return theirs
  const [file] = message.attachments
  if (!file || trigger === 'follow_up') return { pictures: [] }
  return { pictures: [pictureOf(file, { channel, id: message.id })], owner: message.author?.id }
}

/** The nearest first: what it replies to, its thread or direct messages, itself, what its asker asked about last. */
function conversationsOf(
  message: Message,
  place: Place,
  trigger: Trigger,
  pictures: readonly PictureRef[],
  asker: string,
  me: string,
): string[] {
  const replied = repliedId(message)
  const names: string[] = []
  if (replied !== undefined) names.push(messageKey(replied))
  if (place === 'thread') names.push(messageKey(message.channel_id))
  if (place === 'direct') names.push(directKey(message.channel_id))
  names.push(messageKey(message.id))
  // Who replies to something else does not mean what they asked about before.
  const isElsewhere = replied !== undefined && message.referenced_message?.author?.id !== me
  const mayGoOn = trigger === 'mention' && (pictures.length > 0 || !isElsewhere)
  if (mayGoOn) names.push(lastAskedKey(message.channel_id, asker))
  return names
}

/** An answer of ours replies to the message that it is about. */
function repliedToPicture(
  { referenced_message: replied, channel_id }: Message,
  { me }: MessageContext,
): MessageTarget['above'] {
  const { message_id, channel_id: channel = channel_id } = replied?.message_reference ?? {}
  return replied?.author?.id === me && message_id !== undefined ? { channel, message: message_id } : undefined
}

/** It replies to somebody's message, of which Discord shows us nothing without the Message Content intent. */
function isContentHidden(message: Message, { me, messageContent }: MessageContext): boolean {
  const { referenced_message: replied, guild_id } = message
  if (!replied || messageContent || guild_id === undefined || replied.author?.id === me) return false
  const { content, attachments, embeds, message_snapshots } = replied
  return content === '' && attachments.length + embeds.length + message_snapshots.length === 0
}
