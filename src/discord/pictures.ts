// Attachments of a message -> pictures, the nearest first, and where their bytes are.

import type { PictureRef } from '../chat/question.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import type { Attachment, ShownMessage } from './payloads.ts'

/** Only a guess which attachments are worth fetching: the bytes decide. */
const PICTURE_NAME = /\.(jpe?g|jfif|png|webp|gif|avif|tiff?|hei[cf]s?|bmp)$/i
/** What phones post and we do not read: the media proxy makes a JPEG of it. */
const UNSUPPORTED_NAME = /\.hei[cf]s?$/i
const UNSUPPORTED_TYPE = /^image\/hei[cf]/i
/** Large enough to see what is there: a model looks at far fewer pixels. */
const SMALLER_SIDE = 2_048
/** `IS_SPOILER` (resource "Message", "Attachment flags"); older clients only name the file so. */
const SPOILER_FLAG = 8
const SPOILER_NAME = 'SPOILER_'

export interface NearestPictures {
  pictures: PictureRef[]
  owner?: string
}

export function isPicture({ content_type, filename }: Attachment): boolean {
  const isUntold = content_type === undefined || content_type === 'application/octet-stream'
  return isUntold ? PICTURE_NAME.test(filename) : /^image\//i.test(content_type)
}

/** `message`: where a fresh address comes from; what came with a command has none. */
export function pictureOf(attachment: Attachment, message?: PictureRef['message']): PictureRef {
  const { id, url, size, filename, flags } = attachment
  const isHidden = filename.startsWith(SPOILER_NAME) || ((flags ?? 0) & SPOILER_FLAG) !== 0
  return {
    id,
    url,
    smallerUrl: smallerUrlOf(attachment),
    sizeBytes: size,
    spoiler: isHidden || undefined,
    message,
  }
}

/** Every picture of a message: its own, and what it forwards. */
export function picturesIn(message: ShownMessage, channel: string): PictureRef[] {
  return [...ownPictures(message, channel), ...forwardedPictures(message, channel)]
}

/** What the message carries itself, else what it forwards: whose pictures a forward shows is not told. */
export function nearestIn(message: ShownMessage, channel: string): NearestPictures {
  const own = ownPictures(message, channel)
  if (own.length > 0) return { pictures: own, owner: message.author?.id }
  return { pictures: forwardedPictures(message, channel) }
}

export function ownPictures(message: ShownMessage, channel: string): PictureRef[] {
  return message.attachments
    .filter(isPicture)
    .map((each) => pictureOf(each, { channel: message.channel_id ?? channel, id: message.id }))
}

function forwardedPictures(message: ShownMessage, channel: string): PictureRef[] {
  return message.message_snapshots
    .flatMap((snapshot) => snapshot.message.attachments)
    .filter(isPicture)
    .map((each) => pictureOf(each, { channel: message.channel_id ?? channel, id: message.id }))
}

/** Addresses are signed and say in hexadecimal seconds when they end ("Signed attachment CDN URLs"). */
export function isExpired(url: string, now: number): boolean {
  const ends = URL.canParse(url) ? new URL(url).searchParams.get('ex') : null
  return ends !== null && /^[0-9a-f]{1,12}$/i.test(ends) && Number.parseInt(ends, 16) * 1000 <= now
}

function smallerUrlOf(attachment: Attachment): string | undefined {
  const { proxy_url, size, filename, content_type, width, height } = attachment
  const isUnsupported = UNSUPPORTED_NAME.test(filename) || UNSUPPORTED_TYPE.test(content_type ?? '')
  if (!isUnsupported && (size ?? 0) <= MAX_PICTURE_BYTES) return undefined
  if (proxy_url === undefined || !URL.canParse(proxy_url)) return undefined
  const url = new URL(proxy_url)
  url.searchParams.set('format', 'jpeg')
  const scale = SMALLER_SIDE / Math.max(width ?? 0, height ?? 0)
  if (width && height && scale < 1) {
    url.searchParams.set('width', String(Math.round(width * scale)))
    url.searchParams.set('height', String(Math.round(height * scale)))
  }
  return url.href
}
