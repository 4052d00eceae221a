// Discord as a `Platform`: downloads pictures, shows progress, posts replies and finds them again.

import { RESTJSONErrorCodes, Routes } from 'discord.js'
import { z } from 'zod'
import { type DownloadPolicy, download } from '../chat/download.ts'
import type { Platform, Posted } from '../chat/platform.ts'
import type { NearestPictures, PictureRef, Question } from '../chat/question.ts'
import { RequestError } from '../errors.ts'
import { notAPicture } from '../image/refusal.ts'
import { type DiscordApi, isDiscordError, unlessRefused } from './api.ts'
import { identifiedSchema, messageSchema, parseMessage, parsePayload } from './payloads.ts'
import { isExpired, nearestPictures, picturesOf } from './pictures.ts'
import { findReply, findResponse, isAnsweredByOther, postReply, postResponse } from './post.ts'
import type { DiscordSettings } from './settings.ts'
import { replyTargetOf } from './target.ts'

export interface DiscordPlatform extends Platform {
  /** Holds the reply to this question until Discord has the initial response. The reply fails when that fails. */
  waitFor(questionId: string, acknowledged: Promise<unknown>): void
}

/** Hosts of attachments, their smaller versions, and other sites' pictures in embeds. Downloads send no token. */
const HOSTS = ['cdn.discordapp.com', 'media.discordapp.net', '.discordapp.net']
const DISCORD_HOSTS = /^https:\/\/(cdn\.discordapp\.com|[\w-]+\.discordapp\.net)(?=\/)/
/** The typing sign must not delay an answer. */
const TYPING_TIMEOUT_MS = 3_000

export function discordPlatform(
  api: DiscordApi,
  settings: Pick<DiscordSettings, 'answers' | 'apiUrl'>,
  now: () => number = Date.now,
): DiscordPlatform {
  const { answers, apiUrl } = settings
  const policy: DownloadPolicy = { hosts: HOSTS, testOrigin: apiUrl && new URL(apiUrl).origin }
  const acknowledgements = new Map<string, Promise<unknown>>()
  /** The pieces of a reply that an earlier try posted, for as long as its question is in memory. */
  const begun = new WeakMap<Question, Posted[]>()
  let me: string | undefined

  /** The stand-in of a test serves what Discord's hosts serve. */
  const standIn = (url: string) =>
    policy.testOrigin === undefined ? url : url.replace(DISCORD_HOSTS, policy.testOrigin)

  const ownId = async () => {
    me ??= parsePayload(identifiedSchema, await api('GET', Routes.user()), 'the bot itself').id
    return me
  }

  const platform: DiscordPlatform = {
    name: 'discord',
    waitFor(questionId, acknowledged) {
      const settled = acknowledged.finally(() => acknowledgements.delete(questionId))
      // Prevents an unhandled rejection; `post` throws the error.
      settled.catch(() => {})
      acknowledgements.set(questionId, settled)
    },

    localeOf: async ({ asker }) => asker.locale,

    async parentPictures(question) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message') return { pictures: [] }
      const { above, place, channel } = target
      if (above) return await fetchPictures(api, above.channel, above.message)
      return place === 'thread' ? await fetchThreadPictures(api, channel) : { pictures: [] }
    },

    async fetchPicture(picture, withinMs) {
      if (picture.otherType) throw notAPicture(`a file of the type ${picture.otherType}`)
      const endsAt = now() + withinMs
      const fetchFrom = async ({ url, smallerUrl, isUnreadable }: PictureRef) => {
        const address = (isUnreadable && smallerUrl) || url
        if (address === undefined) throw gone()
        return await download(standIn(address), { ...policy, timeoutMs: endsAt - now() })
      }
      const isFresh = !picture.message || !isExpired(picture.url ?? '', now())
      try {
        if (isFresh) return await fetchFrom(picture)
      } catch (error) {
        const mayBeMoved = error instanceof RequestError && error.code !== 'picture_too_large'
        if (!mayBeMoved || !picture.message) throw error
      }
      return await fetchFrom(await refreshed(api, picture))
    },

    async fetchSmaller(picture, withinMs) {
      // The same picture, with its smaller rendering as the only one that is wanted.
      if (picture.isUnreadable || picture.smallerUrl === undefined) return undefined
      return await platform.fetchPicture({ ...picture, isUnreadable: true }, withinMs)
    },

    async startTyping(question) {
      const target = replyTargetOf(question)
      // An interaction shows "is thinking..." instead.
      if (target.kind !== 'message') return
      const route = Routes.channelTyping(target.channel)
      await api('POST', route, { timeoutMs: TYPING_TIMEOUT_MS }).catch(() => {})
    },
    // Discord removes the sign when the reply is posted, or after 10 s.
    stopTyping: async () => {},

    async post(question, reply) {
      const target = replyTargetOf(question)
      const posted = begun.get(question) ?? []
      if (target.kind === 'message') return await postReply(api, question, target, reply, answers, posted)
      begun.set(question, posted)
      await acknowledgements.get(question.id)
      return await postResponse(api, question, target, reply, posted, now())
    },

    async findPosted(question) {
      const target = replyTargetOf(question)
      if (target.kind === 'message') {
        const { posted, isWhole } = await findReply(api, target, await ownId(), answers)
        begun.set(question, posted)
        return isWhole ? posted : undefined
      }
      // `post` continues a reply that this process began.
      return begun.has(question) ? undefined : await findResponse(api, target)
    },

    async isTaken(question, posted) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message' || target.place === 'direct') return false
      return await ownId()
        .then((own) => isAnsweredByOther(api, target, own, posted))
        .catch(() => false)
    },

    async deleteReply({ channel, message, application, token, part }) {
      const route = token
        ? Routes.webhookMessage(application!, token, part)
        : Routes.channelMessage(channel!, message!)
      const { UnknownChannel, UnknownMessage } = RESTJSONErrorCodes
      await unlessRefused(api('DELETE', route), undefined, UnknownMessage, UnknownChannel)
    },
  }
  return platform
}

/** The message that a thread starts from has the thread's id. It is in the parent channel, or in a forum in the thread. */
async function fetchThreadPictures(api: DiscordApi, thread: string): Promise<NearestPictures> {
  const answer = await api('GET', Routes.channel(thread)).catch(() => undefined)
  const parent = z.object({ parent_id: z.string() }).safeParse(answer).data?.parent_id
  const found = parent === undefined ? undefined : await fetchPictures(api, parent, thread)
  return found && found.pictures.length > 0 ? found : await fetchPictures(api, thread, thread)
}

/** The pictures of a message, else of the message it replies to; none where the bot may not read. Never throws. */
async function fetchPictures(api: DiscordApi, channel: string, id: string): Promise<NearestPictures> {
  const answer = await api('GET', Routes.channelMessage(channel, id)).catch(() => undefined)
  const message = messageSchema.safeParse(answer).data
  return message ? nearestPictures(message) : { pictures: [] }
}

/** The same picture with a URL that has not expired. */
async function refreshed(api: DiscordApi, picture: PictureRef): Promise<PictureRef> {
  const { channel, id } = picture.message!
  const answer = await api('GET', Routes.channelMessage(channel, id)).catch((cause: unknown) => {
    if (!isDiscordError(cause)) throw cause
    if (isDiscordError(cause, RESTJSONErrorCodes.MissingAccess, RESTJSONErrorCodes.MissingPermissions)) {
      throw new RequestError('picture_forbidden', 'Discord does not show this picture to the bot.', { cause })
    }
    throw gone(cause)
  })
  const { pictures } = picturesOf(parseMessage(answer), channel)
  const found = pictures.find((each) => each.id === picture.id)
  if (!found) throw gone()
  return { ...found, isUnreadable: picture.isUnreadable ?? found.isUnreadable }
}

function gone(cause?: unknown): RequestError {
  return new RequestError('picture_gone', 'Discord no longer has this picture.', { cause })
}
