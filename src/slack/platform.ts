// Slack as a `Platform`: downloads pictures, shows progress, posts replies and finds them again.

import { setTimeout as wait } from 'node:timers/promises'
import { webApi } from '@slack/bolt'
import { LRUCache } from 'lru-cache'
import { type DownloadPolicy, download } from '../chat/download.ts'
import type { Platform } from '../chat/platform.ts'
import type { NearestPictures, PictureRef, Question } from '../chat/question.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import { messagesFor } from '../i18n/languages.ts'
import { notAPicture } from '../image/refusal.ts'
import { HOUR_MS } from '../time.ts'
import { type Client, slackClient, slackErrorCode, toGlimpseError } from './api.ts'
import { fileSchema, messageSchema } from './payloads.ts'
import { isPicture, pictureOf, picturesOf } from './pictures.ts'
import { findReply, isAnsweredByOther, postReply, removeReply } from './post.ts'
import { SLACK_API, type SlackSettings } from './settings.ts'
import { messageKey, personId, replyTargetOf } from './target.ts'

export interface SlackPlatform extends Platform {
  /** Undefined when Slack does not answer within 3 s. */
  profileOf(user: string): Promise<Profile | undefined>
}

interface Profile {
  /** `de-DE` */
  locale?: string
  /** Guests and people of other workspaces may not change a channel's settings. */
  isGuest: boolean
  /** Administrators and owners of the workspace. */
  isModerator: boolean
  isBot: boolean
}

/** Hosts of files and their smaller versions (docs.slack.dev, "Working with files"). */
const HOSTS = [
  'slack.com',
  '.slack.com',
  'slack-files.com',
  '.slack-edge.com',
  'slack-gov.com',
  '.slack-gov.com',
]
/** For progress signs and profiles, which must not delay an answer. */
const QUICK_TIMEOUT_MS = 3_000
const REACTION = 'eyes'
/** Messages of a thread that are searched for pictures: pages of as many as Slack recommends for one call. */
const PAGE_MESSAGES = 200
const MAX_PAGES = 10
/** Pauses before files.info is asked again about a file that Slack still processes. */
const PAUSES_MS = [500, 1_000, 2_000]
/** Error codes of an app that may not set a status at all. */
const NO_STATUS = ['unknown_method', 'missing_scope', 'not_allowed_token_type', 'method_deprecated']

/** `sleep` is replaced in tests. */
export function slackPlatform(
  settings: SlackSettings,
  sleep: (ms: number) => Promise<unknown> = wait,
): SlackPlatform {
  const client = slackClient(settings)
  const quickClient = slackClient(settings, QUICK_TIMEOUT_MS)
  // The token is sent to Slack's hosts, and to the origin of the configured API.
  const { botToken: token, apiUrl = SLACK_API } = settings
  const policy: DownloadPolicy = { hosts: HOSTS, token, testOrigin: new URL(apiUrl).origin }
  const profiles = new LRUCache<string, Profile>({
    max: 10_000,
    ttl: HOUR_MS,
    async fetchMethod(user) {
      const answer = await quickClient.users.info({ user, include_locale: true }).catch(() => undefined)
      if (!answer?.user) return undefined
      const { locale, is_restricted, is_ultra_restricted, is_stranger, is_admin, is_owner, is_bot } =
        answer.user
      const isGuest = !!(is_restricted || is_ultra_restricted || is_stranger)
      return { locale, isGuest, isModerator: !isGuest && !!(is_admin || is_owner), isBot: is_bot === true }
    },
  })
  const profileOf = (user: string) => profiles.fetch(user)
  const localeOf = async (question: Question) =>
    question.asker.locale ?? (await profileOf(replyTargetOf(question).user))?.locale
  /** Until Slack refuses: it would refuse every status of an app without an assistant view. */
  let hasStatus = true
  const notSet = (error: unknown) => {
    const isUnknownPath = error instanceof webApi.WebAPIHTTPError && error.statusCode === 404
    if (isUnknownPath || NO_STATUS.includes(slackErrorCode(error) ?? '')) hasStatus = false
  }
  /** By question id, what shows its progress. Another process may have shown something else. */
  const shown = new Map<string, 'status' | 'reaction'>()
  const messageOf = (question: Question) => {
    const target = replyTargetOf(question)
    const { source: timestamp } = question
    if (target.kind !== 'message' || !timestamp) return undefined
    const { channel, thread_ts = timestamp } = target
    return { thread: { channel_id: channel, thread_ts }, reaction: { channel, timestamp, name: REACTION } }
  }
  const { assistant, reactions } = quickClient
  /** An empty status clears it. Slack clears it by itself when the reply is posted, and after two minutes. */
  const setStatus = async (thread: { channel_id: string; thread_ts: string }, status: string) =>
    hasStatus && (await assistant.threads.setStatus({ ...thread, status }).catch(notSet)) !== undefined

  return {
    name: 'slack',
    profileOf,
    localeOf,

    async parentPictures(question) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message' || !target.thread_ts) return { pictures: [] }
      const { channel, thread_ts } = target
      const thread = {
        channel,
        ts: thread_ts,
        latest: question.source,
        inclusive: true,
        limit: PAGE_MESSAGES,
      }
      // Slack returns the oldest page first. The last pictures before the question count, by any person or app. The thread's
      // first message is included.
      let nearest: NearestPictures = { pictures: [] }
      let cursor: string | undefined
      for (let page = 0; page < MAX_PAGES; page++) {
        const answer = await client.conversations.replies({ ...thread, cursor }).catch(() => undefined)
        for (const each of answer?.messages ?? []) {
          const message = messageSchema.safeParse(each).data
          // The first message is on every page.
          if (!message || (page > 0 && message.ts === thread_ts)) continue
          const { pictures, owner } = picturesOf(message)
          if (pictures.length === 0) continue
          const postedIn = owner === message.user ? messageKey(target, message.ts) : undefined
          nearest = { pictures: pictures.map((picture) => ({ ...picture, postedIn })), owner }
        }
        cursor = answer?.response_metadata?.next_cursor
        if (!cursor) break
      }
      const { pictures, owner } = nearest
      return { pictures, owner: owner && personId(target.team, owner) }
    },

    async fetchPicture(picture, withinMs) {
      if (picture.otherType) throw notAPicture(`a file of the type ${picture.otherType}`)
      const known = await resolved(client, picture, sleep)
      if (known.unavailable || !known.url) throw gone()
      const url = (known.isUnreadable && known.smallerUrl) || known.url
      return await download(url, { ...policy, timeoutMs: withinMs })
    },

    async fetchSmaller(picture, withinMs) {
      const url = picture.smallerUrl ?? (await fileInfo(client, picture)).smallerUrl
      return url === undefined ? undefined : await download(url, { ...policy, timeoutMs: withinMs })
    },

    async startTyping(question, ahead) {
      const message = messageOf(question)
      if (!message) return
      const messages = messagesFor(await localeOf(question))
      const status = ahead > 0 ? messages.waiting(ahead) : messages.looking
      const isReaction = shown.get(question.id) === 'reaction'
      if (!isReaction && (await setStatus(message.thread, status)))
        return void shown.set(question.id, 'status')
      // For an app without an assistant view. It may be set although the call fails.
      shown.set(question.id, 'reaction')
      if (!isReaction) await reactions.add(message.reaction).catch(() => {})
    },
    async stopTyping(question) {
      const message = messageOf(question)
      if (!message) return
      const kind = shown.get(question.id)
      shown.delete(question.id)
      await setStatus(message.thread, '')
      if (kind === 'status') return
      await reactions.remove(message.reaction).catch((error: unknown) => {
        const failure = toGlimpseError(error)
        if (failure instanceof UpstreamError) throw failure
        // It is not there, or the app may not set it.
      })
    },
    async isTaken(question, posted) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message' || target.isDirect) return false
      if (!posted) {
        const named = await Promise.all((target.named ?? []).map(profileOf))
        if (named.some((profile) => profile?.isBot)) return true
      }
      return await isAnsweredByOther(quickClient, question, posted).catch(() => false)
    },

    post: (question, reply) => postReply(client, question, reply),
    findPosted: (question) => findReply(client, question),
    deleteReply: (posted) => removeReply(client, posted),
  }
}

/**
 * The picture with its address. Asked again while Slack still processes the file: right after an upload files.info may not
 * know it, or know neither its address nor the rendering of a format that the decoder cannot read.
 */
async function resolved(
  client: Client,
  picture: PictureRef,
  sleep: (ms: number) => Promise<unknown>,
): Promise<PictureRef> {
  const isReady = ({ url, smallerUrl, isUnreadable, unavailable }: PictureRef) =>
    unavailable || (url !== undefined && !(isUnreadable && smallerUrl === undefined))
  if (isReady(picture)) return picture
  for (const pauseMs of PAUSES_MS) {
    const found = await fileInfo(client, picture).catch((error: unknown) => {
      if (error instanceof RequestError && error.code === 'picture_gone') return undefined
      throw error
    })
    if (found && isReady(found)) return found
    await sleep(pauseMs)
  }
  return await fileInfo(client, picture)
}

/** What files.info says of a file: all that is known of one that is shared from another workspace, or is only named. */
async function fileInfo(client: Client, picture: PictureRef): Promise<PictureRef> {
  const answer = await client.files.info({ file: picture.id }).catch((cause: unknown) => {
    const code = slackErrorCode(cause)
    if (code === undefined) throw toGlimpseError(cause)
    if (code === 'file_not_found' || code === 'file_deleted') throw gone(cause)
    throw new RequestError('picture_forbidden', 'Slack does not show this picture to the app.', { cause })
  })
  const file = fileSchema.safeParse(answer.file).data
  if (!file) throw gone()
  if (!isPicture(file)) throw notAPicture(`a file of the type ${file.mimetype ?? 'unknown'}`)
  return pictureOf(file)
}

function gone(cause?: unknown): RequestError {
  return new RequestError('picture_gone', 'Slack no longer has this picture.', { cause })
}
