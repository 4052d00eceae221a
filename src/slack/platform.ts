// Slack as the core sees it: fetches pictures, shows that work goes on, posts replies and finds them again.

import { LRUCache } from 'lru-cache'
import { type DownloadPolicy, download, isAllowedHost } from '../chat/download.ts'
import type { Platform } from '../chat/platform.ts'
import type { PictureRef, Question } from '../chat/question.ts'
import { RequestError } from '../errors.ts'
import { messagesFor } from '../i18n/languages.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { HOUR_MS } from '../time.ts'
import { type Client, slackClient, slackErrorCode, toGlimpseError } from './api.ts'
import { fileSchema, messageSchema } from './payloads.ts'
import { pictureOf, picturesOf } from './pictures.ts'
import { findReply, postReply, removeReply } from './post.ts'
import { SLACK_API, type SlackSettings } from './settings.ts'
import { personId, replyTargetOf } from './target.ts'

export interface SlackPlatform extends Platform {
  /** Undefined when Slack does not say in time. */
  profileOf(user: string): Promise<Profile | undefined>
}

export interface Profile {
  /** `de-DE` */
  locale?: string
  /** From outside, or of a few channels only: changes nothing for others. */
  isGuest: boolean
}

/** Where Slack keeps files and their smaller versions (docs.slack.dev, "Working with files"). */
const HOSTS = [
  'slack.com',
  '.slack.com',
  'slack-files.com',
  '.slack-edge.com',
  'slack-gov.com',
  '.slack-gov.com',
]
/** What phones post and we do not read: Slack's smaller version of it is a JPEG or PNG. */
const UNSUPPORTED = /\.hei[cf]s?($|\?)/i
/** Signs and languages are not worth waiting for. */
const QUICK_TIMEOUT_MS = 3_000
const PROFILE_KEPT_MS = HOUR_MS
const REACTION = 'eyes'
/** Messages of a thread that are looked through for its picture; as many as Slack gives at once. */
const LOOK_THROUGH = 200
/** What Slack says where there is no status for this app at all. */
const NO_STATUS = new Set(['unknown_method', 'missing_scope', 'not_allowed_token_type', 'method_deprecated'])
const FETCH_TIMEOUT_MS = 15_000

export function slackPlatform(settings: SlackSettings): SlackPlatform {
  const client = slackClient(settings)
  const quickClient = slackClient(settings, QUICK_TIMEOUT_MS)
  const policy = sourceOf(settings)
  const profiles = new LRUCache<string, Profile>({ max: 10_000, ttl: PROFILE_KEPT_MS })
  /** Apps without an assistant's view have no status: a reaction says it there. */
  let hasStatus = true

  const profileOf = async (user: string): Promise<Profile | undefined> => {
    const known = profiles.get(user)
    if (known) return known
    const answer = await quickClient.users.info({ user, include_locale: true }).catch(() => undefined)
    if (!answer?.user) return undefined
    const { locale, is_restricted, is_ultra_restricted, is_stranger } = answer.user
    const profile = { locale, isGuest: !!(is_restricted || is_ultra_restricted || is_stranger) }
    profiles.set(user, profile)
    return profile
  }
  const localeOfUser = async (user: string) => (await profileOf(user))?.locale

  /** An empty status ends it. False when there is no such thing here. */
  const setStatus = async (channel: string, thread_ts: string, status: string): Promise<boolean> => {
    if (!hasStatus) return false
    return await quickClient.assistant.threads.setStatus({ channel_id: channel, thread_ts, status }).then(
      () => true,
      (error: unknown) => {
        hasStatus = !NO_STATUS.has(slackErrorCode(error) ?? '') && !isUnknownMethod(error)
        return false
      },
    )
  }

  const showStatus = async (question: Question, status: string): Promise<void> => {
    const target = replyTargetOf(question)
    const { source: timestamp } = question
    if (target.kind !== 'message' || !timestamp) return
    const { channel } = target
    if (await setStatus(channel, target.thread_ts ?? timestamp, status)) return
    const reaction = { channel, timestamp, name: REACTION }
    await (status === ''
      ? quickClient.reactions.remove(reaction)
      : quickClient.reactions.add(reaction)
    ).catch(() => {})
  }

  return {
    name: 'slack',
    profileOf,
    localeOf: async (question) => question.asker.locale ?? (await localeOfUser(replyTargetOf(question).user)),

    async parentPictures(question) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message' || !target.thread_ts) return { pictures: [] }
      const { channel, thread_ts } = target
      const latest = question.source
      const answer = await client.conversations
        .replies({ channel, ts: thread_ts, latest, inclusive: true, limit: LOOK_THROUGH })
        .catch(() => undefined)
      // The nearest above the question, whoever posted it; the first message is one of them.
      for (const each of (answer?.messages ?? []).toReversed()) {
        const message = messageSchema.safeParse(each)
        if (!message.success || message.data.bot_id) continue
        const { pictures, owner } = picturesOf(message.data)
        if (pictures.length === 0) continue
        return { pictures, owner: owner === undefined ? undefined : personId(target.team, owner) }
      }
      return { pictures: [] }
    },

    async fetchPicture(picture, withinMs) {
      const known = picture.url || picture.unavailable ? picture : await fileInfo(client, picture)
      if (known.unavailable || !known.url) {
        throw new RequestError('picture_gone', 'Expected a picture but Slack no longer has it.')
      }
      const isTooMuch = (known.sizeBytes ?? 0) > MAX_PICTURE_BYTES || UNSUPPORTED.test(known.url)
      const url = isTooMuch && known.smallerUrl ? known.smallerUrl : known.url
      return await download(url, { ...policy, timeoutMs: Math.min(FETCH_TIMEOUT_MS, withinMs) })
    },

    async startTyping(question, ahead) {
      const messages = messagesFor(await localeOfUser(replyTargetOf(question).user))
      await showStatus(question, ahead > 0 ? messages.waiting(ahead) : messages.looking)
    },
    async stopTyping(question) {
      await showStatus(question, '')
    },

    post: (question, reply) => postReply(client, question, reply),
    findPosted: (question) => findReply(client, question),
    deleteReply: (posted) => removeReply(client, posted),
  }
}

/** A token goes to Slack's hosts, and to where its API was said to be. */
function sourceOf({ botToken, apiUrl }: SlackSettings): DownloadPolicy {
  const api = new URL(apiUrl ?? SLACK_API)
  const testOrigin = isAllowedHost(api.hostname, HOSTS) ? undefined : api.origin
  return { hosts: HOSTS, token: botToken, testOrigin }
}

/** A file shared from another workspace comes as a stub: what it is only files.info tells. */
async function fileInfo(client: Client, picture: PictureRef): Promise<PictureRef> {
  const answer = await client.files.info({ file: picture.id }).catch((error: unknown) => {
    switch (slackErrorCode(error)) {
      case 'file_not_found':
      case 'file_deleted':
        throw new RequestError('picture_gone', 'Expected a picture but Slack no longer has it.', {
          cause: error,
        })
      case undefined:
        throw toGlimpseError(error)
      default:
        throw new RequestError('picture_forbidden', 'Expected a picture but Slack does not show it to us.', {
          cause: error,
        })
    }
  })
  const file = fileSchema.safeParse(answer.file)
  if (!file.success) throw new RequestError('picture_gone', 'Expected a picture but Slack no longer has it.')
  return pictureOf(file.data)
}

function isUnknownMethod(error: unknown): boolean {
  return error instanceof Error && 'statusCode' in error && error.statusCode === 404
}
