// Attachments of a Discord message -> picture references: its own, else those it forwards, else those of the
// message it replies to.

import { AttachmentFlags } from 'discord.js'
import type { NearestPictures, PictureRef } from '../chat/question.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import type { Attachment, Message, ShownMessage } from './payloads.ts'
import { messageKey } from './target.ts'

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
    name: filename || undefined,
    postedIn: message && messageKey(message.id),
    url,
    smallerUrl: smallerUrlOf(attachment),
    sizeBytes: size,
    spoiler: isSpoiler || undefined,
    message,
  }
}

/** The message's own pictures, else those it forwards, whose owner is unknown. */
export function picturesOf(message: ShownMessage, channel: string): NearestPictures {
  const { id, author, attachments, message_snapshots, channel_id = channel } = message
  const picturesIn = (files: readonly Attachment[]) =>
    files.filter(isPicture).map((each) => pictureOf(each, { channel: channel_id, id }))
  const own = picturesIn(attachments)
  if (own.length > 0) return { pictures: own, owner: author?.id }
  return { pictures: picturesIn(message_snapshots.flatMap((snapshot) => snapshot.message.attachments)) }
}

/** The message's own pictures, else those it forwards, else those of the message it replies to. */
export function nearestPictures(message: Message): NearestPictures {
  const { channel_id, referenced_message: replied, message_reference } = message
  const own = picturesOf(message, channel_id)
  if (own.pictures.length > 0 || !replied) return own
  return picturesOf(replied, message_reference?.channel_id ?? channel_id)
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
