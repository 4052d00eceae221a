// Attachments of a Discord message -> picture references: its own, else those it forwards.

import { AttachmentFlags } from 'discord.js'
import type { NearestPictures, PictureRef } from '../chat/question.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import type { Attachment, ShownMessage } from './payloads.ts'

/** Names of files that may be pictures. The decoder decides by their bytes. */
const PICTURE_NAME = /\.(jpe?g|jfif|png|webp|gif|avif|tiff?|hei[cf]s?|bmp)$/i
/** Formats of phones that the decoder cannot read. The media proxy converts them to JPEG. */
const UNSUPPORTED_NAME = /\.hei[cf]s?$/i
const UNSUPPORTED_TYPE = /^image\/hei[cf]/i
/** Longer side of a converted picture in pixels. It exceeds the input of every model. */
const SMALLER_SIDE = 2_048
/** Older clients mark a spoiler only by this prefix of the file name. */
const SPOILER_NAME = 'SPOILER_'

export function isPicture({ content_type, filename }: Attachment): boolean {
  const isUnknown = content_type === undefined || content_type === 'application/octet-stream'
  return isUnknown ? PICTURE_NAME.test(filename) : /^image\//i.test(content_type)
}

/** `message`: the source of a fresh URL. An attachment of a command has none. */
export function pictureOf(attachment: Attachment, message?: PictureRef['message']): PictureRef {
  const { id, url, size, filename, flags = 0 } = attachment
  const isSpoiler = filename.startsWith(SPOILER_NAME) || (flags & AttachmentFlags.IsSpoiler) !== 0
  return {
    id,
    url,
    smallerUrl: smallerUrlOf(attachment),
    sizeBytes: size,
    spoiler: isSpoiler || undefined,
    message,
  }
}

/** The message's own pictures, else those it forwards, whose owner is unknown. */
export function picturesOf(message: ShownMessage, channel: string): NearestPictures {
  const own = ownPictures(message, channel)
  if (own.length > 0) return { pictures: own, owner: message.author?.id }
  return { pictures: forwardedPictures(message, channel) }
}

export function ownPictures(message: ShownMessage, channel: string): PictureRef[] {
  return picturesIn(message.attachments, message, channel)
}

export function forwardedPictures(message: ShownMessage, channel: string): PictureRef[] {
  const attachments = message.message_snapshots.flatMap((snapshot) => snapshot.message.attachments)
  return picturesIn(attachments, message, channel)
}

function picturesIn(attachments: readonly Attachment[], message: ShownMessage, channel: string) {
  const source = { channel: message.channel_id ?? channel, id: message.id }
  return attachments.filter(isPicture).map((each) => pictureOf(each, source))
}

/** URLs are signed, and `ex` is their expiry in hexadecimal seconds ("Signed attachment CDN URLs"). */
export function isExpired(url: string, now: number): boolean {
  const expiry = URL.canParse(url) ? new URL(url).searchParams.get('ex') : null
  return expiry !== null && /^[0-9a-f]{1,12}$/i.test(expiry) && Number.parseInt(expiry, 16) * 1000 <= now
}

function smallerUrlOf(attachment: Attachment): string | undefined {
  const { proxy_url, size = 0, filename, content_type = '', width = 0, height = 0 } = attachment
  const isUnsupported = UNSUPPORTED_NAME.test(filename) || UNSUPPORTED_TYPE.test(content_type)
  if (!isUnsupported && size <= MAX_PICTURE_BYTES) return undefined
  if (proxy_url === undefined || !URL.canParse(proxy_url)) return undefined
  const url = new URL(proxy_url)
  url.searchParams.set('format', 'jpeg')
  const scale = SMALLER_SIDE / Math.max(width, height)
  if (width && height && scale < 1) {
    url.searchParams.set('width', String(Math.round(width * scale)))
    url.searchParams.set('height', String(Math.round(height * scale)))
  }
  return url.href
}
