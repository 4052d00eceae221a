// What a Discord message shows -> picture references: its own attachments, media, stickers and embeds, else those it
// forwards, else those of the message it replies to.

import { AttachmentFlags, CDNRoutes, ImageFormat, StickerFormatType } from 'discord.js'
import { z } from 'zod'
import { maybe } from '../chat/payload.ts'
import type { NearestPictures, PictureRef } from '../chat/question.ts'
import { MAX_PICTURE_BYTES, MAX_PIXELS } from '../image/format.ts'
import {
  type Attachment,
  type Contents,
  type Media,
  type Message,
  mediaSchema,
  type ShownMessage,
} from './payloads.ts'
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
const CDN = 'https://cdn.discordapp.com'
const MEDIA_PROXY = 'https://media.discordapp.net'
/** Pixels of a custom emoji: the CDN's sizes are powers of two. */
const EMOJI_SIZE = 256
/** Depth of nested components that is searched. */
const MAX_DEPTH = 8

/** An attachment, or what stands for one: media, a sticker. */
type File = Pick<Attachment, 'id' | 'url' | 'filename'> & Partial<Attachment>

export function isPicture(file: File): boolean {
  return isTyped(file) ? /^image\//i.test(file.content_type!) : PICTURE_NAME.test(file.filename)
}

/** Whether Discord knows what the file is. */
export function isTyped({ content_type }: File): boolean {
  return content_type !== undefined && content_type !== 'application/octet-stream'
}

/** `message`: the source of a fresh URL. An attachment of a command has none. */
export function pictureOf(attachment: File, message?: PictureRef['message']): PictureRef {
  const {
    id,
    url,
    size,
    filename,
    content_type = '',
    width = 0,
    height = 0,
    flags = 0,
    description,
  } = attachment
  const isSpoiler = filename.startsWith(SPOILER_NAME) || (flags & AttachmentFlags.IsSpoiler) !== 0
  const isUnreadable =
    UNSUPPORTED_NAME.test(filename) ||
    UNSUPPORTED_TYPE.test(content_type) ||
    (size ?? 0) > MAX_PICTURE_BYTES ||
    width * height > MAX_PIXELS
  return {
    id,
    name: filename || undefined,
    altText: description?.trim() || undefined,
    postedIn: message && messageKey(message.id),
    url,
    smallerUrl: isPicture(attachment) ? smallerUrlOf(attachment) : undefined,
    sizeBytes: size,
    isUnreadable: isUnreadable || undefined,
    spoiler: isSpoiler || undefined,
    message,
  }
}

/** The message's own pictures, else those it forwards, whose owner is unknown. */
export function picturesOf(message: ShownMessage, channel: string): NearestPictures {
  const { id, author, message_snapshots, channel_id = channel } = message
  const source = { channel: channel_id, id }
  const own = shownIn(message, source)
  if (own.length > 0) return { pictures: own, owner: author?.id }
  return { pictures: message_snapshots.flatMap((snapshot) => shownIn(snapshot.message, source)) }
}

/** The message's own pictures, else those it forwards, else those of the message it replies to. */
export function nearestPictures(message: Message): NearestPictures {
  const { channel_id, referenced_message: replied, message_reference } = message
  const own = picturesOf(message, channel_id)
  if (own.pictures.length > 0 || !replied) return own
  return picturesOf(replied, message_reference?.channel_id ?? channel_id)
}

/** The custom emoji in a text, each once. */
export function emojiIn(content: string): PictureRef[] {
  const found = [...content.matchAll(/<a?:(\w+):(\d+)>/g)].map(([, name, id]) => ({ name: name!, id: id! }))
  return found
    .filter(({ id }, index) => found.findIndex((each) => each.id === id) === index)
    .map(({ id, name }) => {
      const url = `${CDN}${CDNRoutes.emoji(id, ImageFormat.PNG)}?size=${EMOJI_SIZE}`
      return { id, name, url }
    })
}

/** Whether the message shows something that none of its pictures is: another file, a moving sticker, a link's preview. */
export function showsUnseen({ content, attachments, embeds, sticker_items, components }: Contents): boolean {
  const shown = attachments.length + embeds.length + sticker_items.length
  return shown > 0 || hasLink(content) || mediaIn(components).length > 0
}

export function hasLink(content: string): boolean {
  return /https?:\/\//i.test(content)
}

/** URLs are signed, and `ex` is their expiry in hexadecimal seconds ("Signed attachment CDN URLs"). */
export function isExpired(url: string, now: number): boolean {
  const expiry = URL.canParse(url) ? new URL(url).searchParams.get('ex') : null
  return expiry !== null && /^[0-9a-f]{1,12}$/i.test(expiry) && Number.parseInt(expiry, 16) * 1000 <= now
}

/** What people posted before what the platform adds to it: files, galleries, stickers, previews of links. */
function shownIn(contents: Contents, source: NonNullable<PictureRef['message']>): PictureRef[] {
  const { attachments, components, embeds, sticker_items } = contents
  const groups: File[][] = [
    attachments,
    mediaIn(components).map(fileOf),
    sticker_items.flatMap(({ id, name, format_type }) => {
      const format = STICKER_FORMATS[format_type ?? StickerFormatType.PNG]
      if (!format) return []
      const url = `${format === ImageFormat.GIF ? MEDIA_PROXY : CDN}${CDNRoutes.sticker(id, format)}`
      return [{ id, url, filename: `${name}.${format}` }]
    }),
    embeds.flatMap(({ image, thumbnail }) => image ?? thumbnail ?? []).map(fileOf),
  ]
  const pictures = groups.map((files) => files.filter(isPicture).map((each) => pictureOf(each, source)))
  // A file may be shown by a component too.
  const found = pictures.find((group) => group.length > 0) ?? []
  return found.filter(({ id }, index) => found.findIndex((each) => each.id === id) === index)
}

/** Lottie stickers are drawings. */
const STICKER_FORMATS: Partial<Record<number, ImageFormat.PNG | ImageFormat.GIF>> = {
  [StickerFormatType.PNG]: ImageFormat.PNG,
  [StickerFormatType.APNG]: ImageFormat.PNG,
  [StickerFormatType.GIF]: ImageFormat.GIF,
}

const shown = { spoiler: maybe(z.boolean()), description: maybe(z.string()) }
const shownMedia = z.object({ media: mediaSchema, ...shown })
const shownFile = z.object({ file: mediaSchema, ...shown })

/** Media of thumbnails, galleries and files, however deep in containers and sections ("Component reference"). */
function mediaIn(components: unknown, depth = 0): Media[] {
  if (depth > MAX_DEPTH || typeof components !== 'object' || components === null) return []
  if (Array.isArray(components)) return components.flatMap((each) => mediaIn(each, depth + 1))
  const found = shownMedia.safeParse(components).data ?? shownFile.safeParse(components).data
  if (found) {
    const { spoiler, description } = found
    return [{ ...('media' in found ? found.media : found.file), spoiler, description }]
  }
  return Object.values(components).flatMap((each) => mediaIn(each, depth + 1))
}

/** Media has no id: its address without the signature is one. A picture without a type counts by its name, or as PNG. */
function fileOf({ url, proxy_url, spoiler, ...media }: Media): File {
  const address = url.replace(/[?#].*$/, '')
  const name = address.slice(address.lastIndexOf('/') + 1)
  const flags = spoiler ? AttachmentFlags.IsSpoiler : 0
  const content_type = media.content_type ?? (PICTURE_NAME.test(name) ? undefined : 'image/png')
  return { ...media, id: address, url: proxy_url ?? url, proxy_url, filename: name, content_type, flags }
}

function smallerUrlOf({ proxy_url, width = 0, height = 0 }: File): string | undefined {
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
