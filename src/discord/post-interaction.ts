// A reply to an interaction -> in the place of "is thinking...", found again, and taken back. It goes through the
// interaction's own address, which needs no permission and no token of the bot, for 15 minutes.
//
// Putting it in that place can be repeated without harm. What comes beside it cannot: a second part, or what went wrong,
// for the asker alone. Where a process dies, or Discord's answer is lost, right after one of these, it may come twice.

import { Routes } from 'discord.js'
import { z } from 'zod'
import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { UpstreamError } from '../errors.ts'
import { CODES, type DiscordApi, isDiscordError } from './api.ts'
import { parsePayload } from './payloads.ts'
import { type Progress, postedAs, readPosted } from './post.ts'
import { bodyOf, EPHEMERAL, renderReply } from './render.ts'
import type { InteractionTarget } from './target.ts'

const ORIGINAL = '@original'
/** `LOADING` ("Message flags"): still "is thinking...". */
const LOADING = 128
/** Our first answer may still be on its way to Discord; until it is there nothing can be put in its place. */
const ON_ITS_WAY_MS = 10_000

/**
 * Adds what it posts to `progress`, as these cannot be found again.
 * @throws UpstreamError when trying again may help; RequestError when it never will.
 */
export async function postToInteraction(
  api: DiscordApi,
  question: Question,
  target: InteractionTarget,
  reply: ChatReply,
  { posted }: Progress,
  now: number,
): Promise<Posted[]> {
  const contents = renderReply(reply)
  // "Is thinking..." was said to all, and cannot become the asker's alone: it goes, and they are told beside it.
  const isAside = reply.ephemeral && !target.isEphemeral
  const flags = reply.ephemeral ? EPHEMERAL : 0
  if (isAside && posted.length === 0) await removeOriginal(api, question, target, now)
  for (const [index, content] of contents.entries()) {
    if (index < posted.length) continue
    const isFirst = index === 0 && !isAside
    const answer = isFirst
      ? api.call('PATCH', originalOf(target), { body: bodyOf(content), useBotToken: false })
      : api.call('POST', Routes.webhook(target.application, target.token), {
          body: bodyOf(content, flags),
          query: { wait: 'true' },
          useBotToken: false,
        })
    const message = await readPosted(answer).catch((error: unknown) => {
      throw isFirst ? tooEarly(error, question, now) : error
    })
    posted.push({ ...postedAs(message), ...addressOf(target), part: isFirst ? ORIGINAL : message.id })
  }
  return posted
}

async function removeOriginal(
  api: DiscordApi,
  question: Question,
  target: InteractionTarget,
  now: number,
): Promise<void> {
  await api.call('DELETE', originalOf(target), { useBotToken: false }).catch((error: unknown) => {
    if (!isDiscordError(error, CODES.unknownMessage)) throw tooEarly(error, question, now)
  })
}

/**
 * Undefined while it still says "is thinking...", and where nothing is to be seen: what only the asker was told cannot be
 * looked up, and rather comes twice than never.
 * @throws UpstreamError
 */
export async function findResponse(
  api: DiscordApi,
  target: InteractionTarget,
): Promise<Posted[] | undefined> {
  try {
    const answer = await api.call('GET', originalOf(target), { useBotToken: false })
    const { flags } = parsePayload(z.object({ flags: z.number().default(0) }), answer, 'our message')
    if ((flags & LOADING) !== 0) return undefined
    const message = await readPosted(Promise.resolve(answer))
    return [{ ...postedAs(message), ...addressOf(target), part: ORIGINAL }]
  } catch (error) {
    if (isDiscordError(error)) return undefined
    throw error
  }
}

/** @throws UpstreamError; RequestError once the address has expired */
export async function removeResponse(api: DiscordApi, { application, token, part }: Posted): Promise<void> {
  await api.call('DELETE', Routes.webhookMessage(application!, token!, part), { useBotToken: false })
}

function originalOf({ application, token }: InteractionTarget): `/${string}` {
  return Routes.webhookMessage(application, token, ORIGINAL)
}

function addressOf({ application, token }: InteractionTarget): Posted {
  return { application, token }
}

function tooEarly(error: unknown, question: Question, now: number): unknown {
  const isUnknown = isDiscordError(error, CODES.unknownWebhook, CODES.unknownMessage)
  if (!isUnknown || now - question.askedAt > ON_ITS_WAY_MS) return error
  return new UpstreamError('discord_early', 'Expected Discord to know our first answer but not yet.', {
    cause: error,
  })
}
