// A reply to a message -> visible in its channel, found again, and taken back.
//
// Where it may not stand it goes to the next best place: a thread of its own, a reply, a plain message, and a direct
// message to whoever asked. A nonce makes Discord post each piece once, however often it is sent within some minutes.

import { createHash } from 'node:crypto'
import { Routes } from 'discord.js'
import { z } from 'zod'
import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { RequestError } from '../errors.ts'
import { CODES, type DiscordApi, isDiscordError } from './api.ts'
import { parsePayload } from './payloads.ts'
import { bodyOf, piecesOf, renderReply, threadName } from './render.ts'
import type { DiscordSettings } from './settings.ts'
import { type MessageTarget, messageKey } from './target.ts'

/** Its fields are checked where they are needed. */
const channelSchema = z.object({ id: z.string() })
const postedSchema = z.object({
  id: z.string(),
  channel_id: z.string(),
  content: z.string().default(''),
  author: z.object({ id: z.string() }).optional(),
  message_reference: z.object({ message_id: z.string().optional() }).nullish(),
})
export type PostedMessage = z.infer<typeof postedSchema>

/** Pieces of a reply that an earlier try made visible: the next one goes on behind them. */
export interface Progress {
  posted: Posted[]
}

/** A day without a word, and the thread folds away. */
const ARCHIVE_AFTER_MINUTES = 1_440
/** Messages looked through for a reply that may be there: it came soon after its question. */
const LOOK_THROUGH = 100

/** @throws UpstreamError when trying again may help; RequestError `cannot_reply` when it may stand nowhere. */
export async function postToMessage(
  api: DiscordApi,
  question: Question,
  target: MessageTarget,
  reply: ChatReply,
  answers: DiscordSettings['answers'],
  { posted }: Progress,
): Promise<Posted[]> {
  const { messages } = reply
  const isProblem = reply.parts.every(({ kind }) => kind === 'problem')
  // The menu of a message shows us what Discord does not show us in a reply to it.
  const after = target.isBlind && isProblem ? messages.home.how.slice(2, 3) : []
  const contents = renderReply(reply, [], after)
  const reference = {
    message_reference: { message_id: target.message, channel_id: target.channel, fail_if_not_exists: false },
  }
  const send = (channel: string, texts: readonly string[], more = {}) =>
    postPieces(api, question, channel, texts, more, posted)

  const places: (() => Promise<Posted[]>)[] = []
  if (answers === 'thread' && target.place === 'channel' && !isProblem) {
    places.push(async () => await send(await openThread(api, target, threadName(reply, question)), contents))
  }
  places.push(() => send(target.channel, contents, reference))
  // Replying needs a permission more than speaking does: to read the history.
  places.push(() => send(target.channel, contents))
  if (target.place !== 'direct' && question.trigger !== 'automatic') {
    const texts = renderReply(reply, [messages.problem.cannot_reply], after)
    places.push(async () => await send(await openDirect(api, target.asker), texts))
  }
  return await inFirstPlace(places)
}

async function inFirstPlace<T>(places: readonly (() => Promise<T>)[]): Promise<T> {
  let cause: unknown
  for (const place of places) {
    try {
      return await place()
    } catch (error) {
      if (!isDiscordError(error)) throw error
      cause = error
    }
  }
  throw new RequestError('cannot_reply', 'Expected to be allowed to answer somewhere but Discord refused.', {
    cause,
  })
}

async function postPieces(
  api: DiscordApi,
  question: Question,
  channel: string,
  contents: readonly string[],
  more: object,
  before: readonly Posted[],
): Promise<Posted[]> {
  const posted = [...before]
  for (const [index, content] of contents.entries()) {
    if (index < before.length) continue
    const nonce = nonceOf(question.id, index)
    const body = { ...bodyOf(content), ...more, nonce, enforce_nonce: true }
    posted.push(postedAs(await readPosted(api.call('POST', Routes.channelMessages(channel), { body }))))
  }
  return posted
}

export async function readPosted(answer: Promise<unknown>): Promise<PostedMessage> {
  return parsePayload(postedSchema, await answer, 'the posted message')
}

/** Whoever replies to it goes on about the same picture. */
export function postedAs({ id, channel_id }: PostedMessage): Posted {
  return { channel: channel_id, message: id, conversation: messageKey(id) }
}

async function openThread(
  api: DiscordApi,
  { channel, message }: MessageTarget,
  name: string,
): Promise<string> {
  const body = { name, auto_archive_duration: ARCHIVE_AFTER_MINUTES }
  try {
    const answer = await api.call('POST', Routes.threads(channel, message), { body })
    return parsePayload(channelSchema, answer, 'the new thread').id
  } catch (error) {
    // A thread has the id of its message.
    if (isDiscordError(error, CODES.threadExists)) return message
    throw error
  }
}

async function openDirect(api: DiscordApi, user: string): Promise<string> {
  const answer = await api.call('POST', Routes.userChannels(), { body: { recipient_id: user } })
  return parsePayload(channelSchema, answer, 'a direct channel').id
}

/** The pieces of the reply that are there, in order; none where we may not look. @throws UpstreamError */
export async function findReply(
  api: DiscordApi,
  { channel, message, place }: MessageTarget,
  me: string,
  answers: DiscordSettings['answers'],
): Promise<{ posted: Posted[]; isWhole: boolean }> {
  const ours = (await messagesAfter(api, channel, message)).filter(
    ({ author, message_reference }) => author?.id === me && message_reference?.message_id === message,
  )
  if (ours.length === 0 && answers === 'thread' && place === 'channel') {
    // In a thread of its own the reply needs no reference.
    const inThread = await messagesAfter(api, message, message)
    ours.push(...inThread.filter((each) => each.author?.id === me && !each.message_reference?.message_id))
  }
  const [first] = ours
  return {
    posted: ours.map(postedAs),
    isWhole: first !== undefined && ours.length >= piecesOf(first.content),
  }
}

/** The oldest first; none where we may not look. */
async function messagesAfter(api: DiscordApi, channel: string, after: string): Promise<PostedMessage[]> {
  const query = { after, limit: String(LOOK_THROUGH) }
  try {
    const answer = await api.call('GET', Routes.channelMessages(channel), { query })
    return parsePayload(z.array(postedSchema), answer, 'a list of messages').reverse()
  } catch (error) {
    if (isDiscordError(error)) return []
    throw error
  }
}

/** At most 25 characters, the same for each try, telling nothing of the question. */
function nonceOf(question: string, piece: number): string {
  return createHash('sha256').update(`${question} ${piece}`).digest('base64url').slice(0, 24)
}
