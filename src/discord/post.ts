// A reply -> posted in Discord, and found again.
//
// To a message: a nonce makes Discord post each piece once, however often it is sent within some minutes. Where the bot may
// not post, the next place is tried: a thread on the message, a reply to it, a plain message in its channel, a direct
// message to the asker.
//
// To an interaction: posted in place of "is thinking..." with the interaction's token, which needs no permission and is
// valid for 15 minutes. Editing the original response is idempotent. Follow-up messages are not: later pieces, and a problem
// that only the asker sees. When the process dies or Discord's response is lost right after one, it may be posted twice.

import { createHash } from 'node:crypto'
import { MessageFlags, RESTJSONErrorCodes, Routes, ThreadAutoArchiveDuration } from 'discord.js'
import { z } from 'zod'
import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import type { Messages } from '../i18n/messages.ts'
import { type DiscordApi, isDiscordError, unlessRefused } from './api.ts'
import { buttonsOf, hasButtons } from './buttons.ts'
import { identifiedSchema, type Message, messageSchema, parseMessage, parsePayload } from './payloads.ts'
import { bodyOf, piecesOf, renderReply, threadName } from './render.ts'
import type { DiscordSettings } from './settings.ts'
import { type InteractionTarget, type MessageTarget, messageKey } from './target.ts'

/** Messages after the question that are searched for its reply: as many as one call returns. */
const MAX_MESSAGES = 100
const ORIGINAL = '@original'
/** What the moderation of a server (AutoMod) answers to a message that it blocks. */
const BLOCKED = [
  RESTJSONErrorCodes.MessageWasBlockedByAutomaticModeration,
  RESTJSONErrorCodes.MessageBlockedByHarmfulLinksFilter,
]
/** For this long after the question, a missing original response may still be on its way to Discord. */
const EARLY_MS = 10_000

/**
 * Continues after the pieces of `begun`, which an earlier try posted.
 * @throws UpstreamError when a later try may succeed; RequestError `cannot_reply` when Discord refuses every place
 */
export async function postReply(
  api: DiscordApi,
  question: Question,
  target: MessageTarget,
  reply: ChatReply,
  answers: DiscordSettings['answers'],
  begun: readonly Posted[],
): Promise<Posted[]> {
  const { messages } = reply
  const isProblem = reply.parts.every(({ kind }) => kind === 'problem')
  const hasAnswer = reply.parts.some(({ kind }) => kind === 'alt' || kind === 'answer')
  // The message menu gives the bot the contents that Discord hides from it in a reply.
  const after = target.isBlind && isProblem ? messages.home.how.slice(2, 3) : []
  const contents = renderReply(reply, [], after)
  const reference = {
    message_reference: { message_id: target.message, channel_id: target.channel, fail_if_not_exists: false },
  }
  const send = async (channel: string, pieces: readonly string[], more = {}) => {
    const posted = [...begun]
    for (const [index, content] of [...pieces.entries()].slice(begun.length)) {
      const components = index === pieces.length - 1 ? buttonsOf(reply, question.asker.id) : []
      const body = {
        ...bodyOf(content),
        components,
        ...more,
        nonce: nonceOf(question.id, index),
        enforce_nonce: true,
      }
      posted.push(postedAs(parseMessage(await api('POST', Routes.channelMessages(channel), { body }))))
    }
    return posted
  }

  const places: (() => Promise<Posted[]>)[] = []
  if (answers === 'thread' && target.place === 'channel' && hasAnswer) {
    places.push(async () => await send(await openThread(api, target, threadName(reply, question)), contents))
  }
  places.push(() => send(target.channel, contents, reference))
  // A reply also needs the permission to read the message history.
  places.push(() => send(target.channel, contents))
  if (target.place !== 'direct' && question.trigger !== 'automatic') {
    const texts = renderReply(reply, [messages.problem.cannot_reply], after)
    places.push(async () => await send(await openDirect(api, target.asker), texts))
  }
  let cause: unknown
  for (const place of places) {
    try {
      return await place()
    } catch (error) {
      if (!isDiscordError(error)) throw error
      cause = error
      // In every other place of the server it would be blocked, too.
      if (isDiscordError(error, ...BLOCKED)) break
    }
  }
  if (isDiscordError(cause, ...BLOCKED) && question.trigger !== 'automatic') {
    return await tellBlocked(api, question, target, messages)
  }
  throw new RequestError(
    'cannot_reply',
    'Discord refused the reply in every place. Allow the bot to send messages in the channel.',
    { cause },
  )
}

/** Tells the asker that the server's moderation blocked the reply: in the channel, else in a direct message. */
async function tellBlocked(
  api: DiscordApi,
  { id }: Question,
  { channel, message, asker }: MessageTarget,
  { problem }: Messages,
): Promise<Posted[]> {
  const body = { ...bodyOf(problem.blocked), nonce: nonceOf(id, -1), enforce_nonce: true }
  const message_reference = { message_id: message, channel_id: channel, fail_if_not_exists: false }
  const reply = api('POST', Routes.channelMessages(channel), { body: { ...body, message_reference } })
  const answer = await reply.catch(async (error: unknown) => {
    if (!isDiscordError(error)) throw error
    return await api('POST', Routes.channelMessages(await openDirect(api, asker)), { body })
  })
  return [postedAs(parseMessage(answer))]
}

/** The piece starts a conversation of its own: a reply to it is about the same picture. */
function postedAs({ id, channel_id }: Message): Posted {
  return { channel: channel_id, message: id, conversation: messageKey(id) }
}

async function openThread(
  api: DiscordApi,
  { channel, message }: MessageTarget,
  name: string,
): Promise<string> {
  const body = { name, auto_archive_duration: ThreadAutoArchiveDuration.OneDay }
  const call = api('POST', Routes.threads(channel, message), { body })
  // A thread has the id of its message.
  const { ThreadAlreadyCreatedForMessage } = RESTJSONErrorCodes
  const answer = await unlessRefused(call, { id: message }, ThreadAlreadyCreatedForMessage)
  return parsePayload(identifiedSchema, answer, 'the new thread').id
}

async function openDirect(api: DiscordApi, user: string): Promise<string> {
  const answer = await api('POST', Routes.userChannels(), { body: { recipient_id: user } })
  return parsePayload(identifiedSchema, answer, 'a direct channel').id
}

/** The posted pieces of the reply in order; none where the bot may not read. @throws UpstreamError */
export async function findReply(
  api: DiscordApi,
  { channel, message, place }: MessageTarget,
  me: string,
  answers: DiscordSettings['answers'],
): Promise<{ posted: Posted[]; isWhole: boolean }> {
  const found = (await messagesAfter(api, channel, message)).filter(
    ({ author, message_reference }) => author?.id === me && message_reference?.message_id === message,
  )
  if (found.length === 0 && answers === 'thread' && place === 'channel') {
    // In the thread on the message, the reply has no reference.
    const inThread = await messagesAfter(api, message, message)
    found.push(...inThread.filter((each) => each.author?.id === me && !each.message_reference?.message_id))
  }
  const [first] = found
  return {
    posted: found.map(postedAs),
    isWhole: first !== undefined && found.length >= piecesOf(first.content),
  }
}

/**
 * Whether another bot of Glimpse has replied to the message, before this one's reply `posted` if it is given: it has its
 * buttons. @throws when Discord does not show the channel
 */
export async function isAnsweredByOther(
  api: DiscordApi,
  { channel, message, place }: MessageTarget,
  me: string,
  posted: readonly Posted[] = [],
): Promise<boolean> {
  const isReply = ({ message_reference }: Message) => message_reference?.message_id === message
  const found = (await messagesAfter(api, channel, message)).filter(isReply)
  // A thread on the message has its id. It may not exist.
  if (place === 'channel') found.push(...(await messagesAfter(api, message, message)))
  const own = posted.flatMap((each) => each['message'] ?? [])
  const isBefore = ({ id }: Message) => own.every((each) => BigInt(id) < BigInt(each))
  return found.some((each) => each.author?.bot && each.author.id !== me && hasButtons(each) && isBefore(each))
}

/** The oldest first; none where the bot may not read. */
async function messagesAfter(api: DiscordApi, channel: string, after: string): Promise<Message[]> {
  const query = { after, limit: String(MAX_MESSAGES) }
  const answer = await unlessRefused(api('GET', Routes.channelMessages(channel), { query }), [])
  return parsePayload(z.array(messageSchema), answer, 'a list of messages').reverse()
}

/**
 * Adds each posted piece to `posted`, because follow-up messages cannot be found again.
 * @throws UpstreamError when a later try may succeed; RequestError when Discord refuses
 */
export async function postResponse(
  api: DiscordApi,
  question: Question,
  target: InteractionTarget,
  reply: ChatReply,
  posted: Posted[],
  now: number,
): Promise<Posted[]> {
  const { application, token } = target
  const original = Routes.webhookMessage(application, token, ORIGINAL)
  const retryEarly = (error: unknown) => {
    throw tooEarly(error, question, now)
  }
  // A public "is thinking..." cannot become ephemeral: it is deleted, and the asker gets a follow-up message.
  const isFollowUp = reply.ephemeral && !target.isEphemeral
  const flags = reply.ephemeral ? MessageFlags.Ephemeral : 0
  if (isFollowUp && posted.length === 0) {
    await api('DELETE', original).catch((error: unknown) => {
      if (!isDiscordError(error, RESTJSONErrorCodes.UnknownMessage)) retryEarly(error)
    })
  }
  const pieces = renderReply(reply)
  for (const [index, content] of [...pieces.entries()].slice(posted.length)) {
    const components = index === pieces.length - 1 ? buttonsOf(reply, question.asker.id) : []
    const isOriginal = index === 0 && !isFollowUp
    const send = (text: string) =>
      isOriginal
        ? api('PATCH', original, { body: { ...bodyOf(text), components } }).catch(retryEarly)
        : api('POST', Routes.webhook(application, token), {
            body: { ...bodyOf(text, flags), components },
            query: { wait: 'true' },
          })
    const answer = await send(content).catch(async (error: unknown) => {
      if (isDiscordError(error, ...BLOCKED)) return await send(reply.messages.problem.blocked)
      throw error
    })
    const message = parseMessage(answer)
    posted.push({ ...postedAs(message), application, token, part: isOriginal ? ORIGINAL : message.id })
  }
  return posted
}

/**
 * Undefined while the original response is "is thinking...", and when it is missing: a problem that only the asker sees
 * cannot be found, and is posted again rather than lost.
 * @throws UpstreamError
 */
export async function findResponse(
  api: DiscordApi,
  { application, token }: InteractionTarget,
): Promise<Posted[] | undefined> {
  const answer = await unlessRefused(
    api('GET', Routes.webhookMessage(application, token, ORIGINAL)),
    undefined,
  )
  const message = answer === undefined ? undefined : parseMessage(answer)
  if (!message || (message.flags & MessageFlags.Loading) !== 0) return undefined
  return [{ ...postedAs(message), application, token, part: ORIGINAL }]
}

/** Soon after the question, a missing original response is an error to retry. */
function tooEarly(error: unknown, question: Question, now: number): unknown {
  const { UnknownMessage, UnknownWebhook } = RESTJSONErrorCodes
  const isMissing = isDiscordError(error, UnknownWebhook, UnknownMessage)
  if (!isMissing || now - question.askedAt > EARLY_MS) return error
  return new UpstreamError('discord_early', 'Discord has not read the initial response yet. Retry later.', {
    cause: error,
  })
}

/** The same for each try, at most 25 characters, without information about the question. */
function nonceOf(question: string, piece: number): string {
  return createHash('sha256').update(`${question} ${piece}`).digest('base64url').slice(0, 24)
}
