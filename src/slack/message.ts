// A Slack message -> the Question in it, if there is one for us. Pure: what only Slack could tell is asked later.

import { z } from 'zod'
import { looksLikeQuestion } from '../chat/intent.ts'
import type { PictureRef, Question, Trigger } from '../chat/question.ts'

export const fileSchema = z.looseObject({
  id: z.string(),
  mimetype: z.string().nullish(),
  filetype: z.string().nullish(),
  size: z.number().nullish(),
  mode: z.string().nullish(),
  file_access: z.string().nullish(),
  url_private: z.string().nullish(),
  url_private_download: z.string().nullish(),
  thumb_1024: z.string().nullish(),
  thumb_960: z.string().nullish(),
  thumb_720: z.string().nullish(),
})
type SlackFile = z.infer<typeof fileSchema>

const filesSchema = z.array(fileSchema).nullish()

/** What a message in an event, in a shortcut and in a thread have in common. */
export const messageSchema = z.looseObject({
  ts: z.string(),
  thread_ts: z.string().nullish(),
  subtype: z.string().nullish(),
  user: z.string().nullish(),
  bot_id: z.string().nullish(),
  text: z.string().nullish(),
  files: filesSchema,
  /** Quoted messages, among others. */
  attachments: z.array(z.looseObject({ author_id: z.string().nullish(), files: filesSchema })).nullish(),
  blocks: z.array(z.looseObject({ type: z.string(), file_id: z.string().nullish() })).nullish(),
})
export type SlackMessage = z.infer<typeof messageSchema>

/** Where a message stands and who reads it. */
export interface Surroundings {
  team: string
  channel: string
  isDirect: boolean
  /** The bot's own user id. */
  me: string
  now: number
}

/** Posted by people; all others (joins, topics, bots) are none of our business. */
const SUBTYPES = new Set([undefined, null, 'file_share', 'thread_broadcast'])
/** Gone, or behind a paid plan's limit. */
const GONE_MODES = new Set(['tombstone', 'hidden_by_limit'])
/** Types that carry `image/` and are drawings or documents: we would only refuse them. */
const NOT_PICTURES = /svg|photoshop|dwg/i

export function questionOfMessage(message: SlackMessage, around: Surroundings): Question | undefined {
  const { user } = message
  if (!user || user === around.me || message.bot_id || !SUBTYPES.has(message.subtype)) return undefined
  const { pictures, owner } = picturesOf(message)
  const hasOwn = (message.files ?? []).some(isPicture)
  const trigger = triggerOf(message, hasOwn, around)
  if (!trigger) return undefined
  const threadTs = message.thread_ts ?? undefined
  const thread = conversationName(around, threadTs ?? message.ts)
  const direct = channelName(around.team, around.channel)
  // In a direct message people go on below, not only in the thread: there the last picture is meant.
  const conversations = !around.isDirect
    ? [thread]
    : threadTs || pictures.length > 0
      ? [thread, direct]
      : [direct]
  const standsAlone = around.isDirect && !threadTs && pictures.length === 0
  return {
    id: questionId(around, message.ts),
    platform: 'slack',
    trigger,
    asker: { id: personId(around.team, user) },
    text: plainText(message.text ?? '', around.me),
    pictures,
    owner: owner === undefined ? undefined : personId(around.team, owner),
    conversations,
    channel: direct,
    source: message.ts,
    askedAt: around.now,
    route: {
      kind: 'message',
      team: around.team,
      channel: around.channel,
      user,
      isDirect: around.isDirect,
      ...(standsAlone ? {} : { thread_ts: threadTs ?? message.ts }),
    },
  }
}

export function questionId({ team, channel }: Pick<Surroundings, 'team' | 'channel'>, ts: string): string {
  return `slack/${team}/${channel}/${ts}`
}

/** A thread is named by its first message. */
export function conversationName(
  { team, channel }: Pick<Surroundings, 'team' | 'channel'>,
  ts: string,
): string {
  return `slack/${team}/${channel}/${ts}`
}

export function personId(team: string, user: string): string {
  return `${team}/${user}`
}

function triggerOf(
  message: SlackMessage,
  hasPictures: boolean,
  { isDirect, me }: Surroundings,
): Trigger | undefined {
  const text = message.text ?? ''
  if (isDirect) return 'direct'
  if (mentions(text, me)) return 'mention'
  const isReply = message.thread_ts && message.thread_ts !== message.ts
  if (isReply && !hasPictures && !/<@[A-Z0-9]+/.test(text) && looksLikeQuestion(plainText(text, me))) {
    return 'follow_up'
  }
  return hasPictures ? 'automatic' : undefined
}

export function mentions(text: string, me: string): boolean {
  return new RegExp(`<@${me}(\\||>)`).test(text)
}

/** The nearest that are there: the message's own, then those of messages it quotes. */
export function picturesOf(message: SlackMessage): { pictures: PictureRef[]; owner?: string } {
  const own = (message.files ?? []).filter(isPicture).map(pictureOf)
  if (own.length > 0) return { pictures: own, owner: message.user ?? undefined }
  // An app_mention may name its files only in blocks.
  const named = (message.blocks ?? []).flatMap(({ type, file_id }) =>
    type === 'file' && file_id ? [{ id: file_id }] : [],
  )
  if (named.length > 0) return { pictures: named, owner: message.user ?? undefined }
  const quoted = (message.attachments ?? []).find(({ files }) => (files ?? []).some(isPicture))
  if (!quoted) return { pictures: [] }
  return {
    pictures: (quoted.files ?? []).filter(isPicture).map(pictureOf),
    owner: quoted.author_id ?? undefined,
  }
}

/** A stub of another workspace's file, or one that is gone, does not say what it was: taken for a picture. */
function isPicture({ mimetype, filetype, mode, file_access }: SlackFile): boolean {
  if (file_access === 'check_file_info' || GONE_MODES.has(mode ?? '')) return true
  return /^image\//.test(mimetype ?? '') && !NOT_PICTURES.test(`${mimetype} ${filetype}`)
}

export function pictureOf(file: SlackFile): PictureRef {
  const smaller = file.thumb_1024 ?? file.thumb_960 ?? file.thumb_720
  // Of a file that is kept elsewhere Slack has a smaller version at most.
  const own = file.mode === 'external' ? smaller : file.url_private
  return {
    id: file.id,
    ...(file.file_access === 'check_file_info' ? {} : { url: own ?? undefined }),
    ...(smaller ? { smallerUrl: smaller } : {}),
    ...(typeof file.size === 'number' ? { sizeBytes: file.size } : {}),
    ...(GONE_MODES.has(file.mode ?? '') ? { unavailable: true } : {}),
  }
}

/** Slack's markup as a person would have typed it, without the bot's name. */
export function plainText(text: string, me: string): string {
  return text
    .replace(new RegExp(`<@${me}(\\|[^>]*)?>[,:]?`, 'g'), ' ')
    .replace(/<([@#!])([^>|]*)(?:\|([^>]*))?>/g, (_, kind: string, id: string, label?: string) =>
      kind === '!' ? (label ?? '') : `${kind}${label ?? id}`,
    )
    .replace(/<([^>|]*)(?:\|([^>]*))?>/g, (_, address: string, label?: string) => label ?? address)
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')
    .replace(/[^\S\n]+/g, ' ')
    .trim()
}

/** Where automatic captions are switched on. */
export function channelName(team: string, channel: string): string {
  return `slack/${team}/${channel}`
}

/** Of whatever Slack sends: an event, a command, a click. */
export function teamOf(body: unknown): string {
  const { team_id, team } = z
    .looseObject({ team_id: z.string().nullish(), team: z.looseObject({ id: z.string() }).nullish() })
    .parse(body)
  return team_id ?? team?.id ?? 'unknown'
}
