// A reply to an interaction -> posted in place of "is thinking...", and found again. Calls use the interaction's
// token, which needs no permission and is valid for 15 minutes.
//
// Editing the original response is idempotent. Follow-up messages are not: later pieces, and a problem that only the asker
// sees. When the process dies or Discord's response is lost right after one, it may be posted twice.

import { MessageFlags, RESTJSONErrorCodes, Routes } from 'discord.js'
import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { UpstreamError } from '../errors.ts'
import { type DiscordApi, isDiscordError, unlessRefused } from './api.ts'
import { parseMessage } from './payloads.ts'
import { postedAs } from './post.ts'
import { bodyOf, renderReply } from './render.ts'
import type { InteractionTarget } from './target.ts'

const ORIGINAL = '@original'
/** For this long after the question, a missing original response may still be on its way to Discord. */
const EARLY_MS = 10_000

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
  for (const [index, content] of [...renderReply(reply).entries()].slice(posted.length)) {
    const isOriginal = index === 0 && !isFollowUp
    const answer = await (isOriginal
      ? api('PATCH', original, { body: bodyOf(content) }).catch(retryEarly)
      : api('POST', Routes.webhook(application, token), {
          body: bodyOf(content, flags),
          query: { wait: 'true' },
        }))
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
