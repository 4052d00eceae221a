// Discord as the core sees it: fetches pictures, shows that work goes on, posts replies and finds them again.

import { Routes } from 'discord.js'
import { z } from 'zod'
import { type DownloadPolicy, download } from '../chat/download.ts'
import type { Platform } from '../chat/platform.ts'
import type { PictureRef, Question } from '../chat/question.ts'
import { RequestError } from '../errors.ts'
import { CODES, type DiscordApi, isDiscordError } from './api.ts'
import { messageSchema, parsePayload } from './payloads.ts'
import { isExpired, type NearestPictures, nearestIn, picturesIn } from './pictures.ts'
import { findReply, type Progress, postToMessage } from './post.ts'
import { findResponse, postToInteraction, removeResponse } from './post-interaction.ts'
import type { DiscordSettings } from './settings.ts'
import { replyTargetOf } from './target.ts'

export interface DiscordPlatform extends Platform {
  /** A reply to this question waits until Discord has our first answer; where that fails, so does the reply. */
  waitFor(questionId: string, acknowledged: Promise<unknown>): void
}

/** Where attachments are, and their smaller versions (reference "CDN data"). Nobody gets a token. */
const HOSTS = ['cdn.discordapp.com', 'media.discordapp.net']
/** A typing sign is not worth waiting for. */
const TYPING_TIMEOUT_MS = 3_000
const FETCH_TIMEOUT_MS = 15_000

export function discordPlatform(
  api: DiscordApi,
  settings: Pick<DiscordSettings, 'answers' | 'picturesUrl'>,
  now: () => number = Date.now,
): DiscordPlatform {
  const { answers, picturesUrl } = settings
  const policy: DownloadPolicy = { hosts: HOSTS, testOrigin: picturesUrl && new URL(picturesUrl).origin }
  const acknowledgements = new Map<string, Promise<unknown>>()
  /** Lives as long as the question is worked on. */
  const begun = new WeakMap<Question, Progress>()
  let me: Promise<string> | undefined

  const ownId = async (): Promise<string> => {
    me ??= api
      .call('GET', Routes.user())
      .then((answer) => parsePayload(z.object({ id: z.string() }), answer, 'the bot itself').id)
    return await me.catch((error: unknown) => {
      me = undefined
      throw error
    })
  }

  return {
    name: 'discord',
    waitFor(questionId, acknowledged) {
      const settled = acknowledged.finally(() => acknowledgements.delete(questionId))
      // Whoever posts the reply hears of a failure; nobody may be there yet.
      settled.catch(() => {})
      acknowledgements.set(questionId, settled)
    },

    localeOf: async ({ asker }) => asker.locale,

    async parentPictures(question) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message') return { pictures: [] }
      const { above, place, channel } = target
      if (above) return await picturesOf(api, above.channel, above.message)
      return place === 'thread' ? await parentPicturesOfThread(api, channel) : { pictures: [] }
    },

    async fetchPicture(picture, withinMs) {
      const endsAt = now() + withinMs
      const from = () => ({ ...policy, timeoutMs: Math.max(1, Math.min(FETCH_TIMEOUT_MS, endsAt - now())) })
      const isFresh = !picture.message || !isExpired(picture.url ?? '', now())
      try {
        if (isFresh) return await fetchOnce(picture, from())
      } catch (error) {
        const isGone = error instanceof RequestError && error.code !== 'picture_too_large'
        if (!isGone || !picture.message) throw error
      }
      return await fetchOnce(await refreshed(api, picture), from())
    },

    async startTyping(question) {
      const target = replyTargetOf(question)
      // An interaction says "is thinking..." by itself.
      if (target.kind !== 'message') return
      await api
        .call('POST', Routes.channelTyping(target.channel), { noRetry: true, timeoutMs: TYPING_TIMEOUT_MS })
        .catch(() => {})
    },
    // Ends with the reply, or by itself after 10 s.
    stopTyping: async () => {},

    async post(question, reply) {
      const target = replyTargetOf(question)
      const progress = begun.get(question) ?? { posted: [] }
      if (target.kind === 'message')
        return await postToMessage(api, question, target, reply, answers, progress)
      begun.set(question, progress)
      await acknowledgements.get(question.id)
      return await postToInteraction(api, question, target, reply, progress, now())
    },

    async findPosted(question) {
      const target = replyTargetOf(question)
      if (target.kind === 'message') {
        const { posted, isWhole } = await findReply(api, target, await ownId(), answers)
        begun.set(question, { posted })
        return isWhole ? posted : undefined
      }
      // What this process began it goes on with.
      return begun.has(question) ? undefined : await findResponse(api, target)
    },

    async deleteReply(posted) {
      const { channel, message, token } = posted
      const removing = token
        ? removeResponse(api, posted)
        : api.call('DELETE', Routes.channelMessage(channel!, message!))
      await removing.catch((error: unknown) => {
        if (!isDiscordError(error, CODES.unknownMessage, CODES.unknownChannel)) throw error
      })
    },
  }
}

/** The message that a thread hangs on has its id, and is in the channel above; in a forum it is in the thread. */
async function parentPicturesOfThread(api: DiscordApi, thread: string): Promise<NearestPictures> {
  const answer = await api.call('GET', Routes.channel(thread)).catch(() => undefined)
  const parent = z.object({ parent_id: z.string() }).safeParse(answer).data?.parent_id
  const above = parent === undefined ? { pictures: [] } : await picturesOf(api, parent, thread)
  return above.pictures.length > 0 ? above : await picturesOf(api, thread, thread)
}

/** Those of a message, else of what it replies to; none where Discord does not show it. Never throws. */
async function picturesOf(api: DiscordApi, channel: string, id: string): Promise<NearestPictures> {
  const answer = await api.call('GET', Routes.channelMessage(channel, id)).catch(() => undefined)
  const message = messageSchema.safeParse(answer).data
  if (!message) return { pictures: [] }
  const own = nearestIn(message, channel)
  const replied = message.referenced_message
  return own.pictures.length > 0 || !replied ? own : nearestIn(replied, channel)
}

/** A smaller version stands in where the picture is too large or of a kind we do not read. */
async function fetchOnce({ url, smallerUrl }: PictureRef, policy: DownloadPolicy): Promise<Uint8Array> {
  if (url === undefined) throw gone()
  if (smallerUrl === undefined) return await download(url, policy)
  return await download(smallerUrl, policy).catch(async (error: unknown) => {
    if (error instanceof RequestError) throw error
    return await download(url, policy)
  })
}

/** The same attachment at an address that works. */
async function refreshed(api: DiscordApi, picture: PictureRef): Promise<PictureRef> {
  const { channel, id } = picture.message!
  const answer = await api.call('GET', Routes.channelMessage(channel, id)).catch((error: unknown) => {
    if (!isDiscordError(error)) throw error
    if (isDiscordError(error, CODES.noAccess, CODES.noPermission)) {
      throw new RequestError('picture_forbidden', 'Expected a picture but Discord does not show it to us.', {
        cause: error,
      })
    }
    throw gone(error)
  })
  const message = parsePayload(messageSchema, answer, 'a message')
  const found = picturesIn(message, channel).find((each) => each.id === picture.id)
  if (!found) throw gone()
  return found
}

function gone(cause?: unknown): RequestError {
  return new RequestError('picture_gone', 'Expected a picture but Discord no longer has it.', { cause })
}
