// Slack as a `Platform`: downloads pictures, shows progress, posts replies and finds them again.

import { webApi } from '@slack/bolt'
import { LRUCache } from 'lru-cache'
import { type DownloadPolicy, download } from '../chat/download.ts'
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
/** Formats of phones that the decoder cannot read. Slack's smaller version is a JPEG or PNG. */
const UNSUPPORTED = /\.hei[cf]s?($|\?)/i
/** For progress signs and profiles, which must not delay an answer. */
const QUICK_TIMEOUT_MS = 3_000
const REACTION = 'eyes'
/** Messages of a thread that are searched for pictures: as many as one call returns. */
const MAX_MESSAGES = 200
/** Error codes of an app that may not set a status at all. */
const NO_STATUS = ['unknown_method', 'missing_scope', 'not_allowed_token_type', 'method_deprecated']

export function slackPlatform(settings: SlackSettings): SlackPlatform {
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
      const { locale, is_restricted, is_ultra_restricted, is_stranger } = answer.user
      return { locale, isGuest: !!(is_restricted || is_ultra_restricted || is_stranger) }
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
  /** An empty status clears it. For apps without an assistant view, a reaction shows the progress. */
  const showStatus = async (question: Question, status: string): Promise<void> => {
    const target = replyTargetOf(question)
    const { source: timestamp } = question
    if (target.kind !== 'message' || !timestamp) return
    const { channel, thread_ts = timestamp } = target
    const { assistant, reactions } = quickClient
    const reaction = { channel, timestamp, name: REACTION }
    const { setStatus } = assistant.threads
    if (hasStatus && (await setStatus({ channel_id: channel, thread_ts, status }).catch(notSet))) return
    await (status === '' ? reactions.remove(reaction) : reactions.add(reaction)).catch(() => {})
  }

  return {
    name: 'slack',
    profileOf,
    localeOf,

    async parentPictures(question) {
      const target = replyTargetOf(question)
      if (target.kind !== 'message' || !target.thread_ts) return { pictures: [] }
      const { channel, thread_ts } = target
      const latest = question.source
      const answer = await client.conversations
        .replies({ channel, ts: thread_ts, latest, inclusive: true, limit: MAX_MESSAGES })
        .catch(() => undefined)
      // The last pictures before the question, by any person. The thread's first message is included.
      for (const each of (answer?.messages ?? []).toReversed()) {
        const message = messageSchema.safeParse(each)
        if (!message.success || message.data.bot_id) continue
        const { pictures, owner } = picturesOf(message.data)
        if (pictures.length === 0) continue
        const postedIn = owner === message.data.user ? messageKey(target, message.data.ts) : undefined
        return {
          pictures: pictures.map((picture) => ({ ...picture, postedIn })),
          owner: owner && personId(target.team, owner),
        }
      }
      return { pictures: [] }
    },

    async fetchPicture(picture, withinMs) {
      const known = picture.url || picture.unavailable ? picture : await fileInfo(client, picture)
      if (known.unavailable || !known.url) throw gone()
      const needsSmaller = (known.sizeBytes ?? 0) > MAX_PICTURE_BYTES || UNSUPPORTED.test(known.url)
      const url = (needsSmaller && known.smallerUrl) || known.url
      return await download(url, { ...policy, timeoutMs: withinMs })
    },

    async startTyping(question, ahead) {
      const messages = messagesFor(await localeOf(question))
      await showStatus(question, ahead > 0 ? messages.waiting(ahead) : messages.looking)
    },
    stopTyping: (question) => showStatus(question, ''),

    post: (question, reply) => postReply(client, question, reply),
    findPosted: (question) => findReply(client, question),
    deleteReply: (posted) => removeReply(client, posted),
  }
}

/** The picture of a file that is shared from another workspace: only files.info says what and where it is. */
async function fileInfo(client: Client, picture: PictureRef): Promise<PictureRef> {
  const answer = await client.files.info({ file: picture.id }).catch((cause: unknown) => {
    const code = slackErrorCode(cause)
    if (code === undefined) throw toGlimpseError(cause)
    if (code === 'file_not_found' || code === 'file_deleted') throw gone(cause)
    throw new RequestError('picture_forbidden', 'Slack does not show this picture to the app.', { cause })
  })
  const file = fileSchema.safeParse(answer.file)
  if (!file.success) throw gone()
  return pictureOf(file.data)
}

function gone(cause?: unknown): RequestError {
  return new RequestError('picture_gone', 'Slack no longer has this picture.', { cause })
}
