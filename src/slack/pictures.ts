// Files of a Slack message -> picture references: its own, else those it quotes.
//
// A file may arrive without a type, or as an id alone. It then counts as a picture unless its name says otherwise:
// files.info tells before the download (platform.ts).

import { z } from 'zod'
import { maybe } from '../chat/payload.ts'
import type { NearestPictures, PictureRef } from '../chat/question.ts'
import { MAX_PICTURE_BYTES, MAX_PIXELS } from '../image/format.ts'
import type { SlackFile, SlackMessage } from './payloads.ts'

/** Modes of files that are deleted, or hidden by the limit of a free plan. */
const GONE_MODES = new Set(['tombstone', 'hidden_by_limit'])
/** `image/` types of drawings and documents, which the decoder refuses. */
const NOT_PICTURES = /svg|photoshop|dwg/i
/** Types of a file whose kind is not known, or not known yet. */
const UNKNOWN_TYPE = /^(|application\/octet-stream|binary\/octet-stream)$/i
const UNKNOWN_FILETYPE = /^(|auto|binary)$/i
const PICTURE_NAME = /(^|\.)(jpe?g|jfif|png|webp|gif|avif|tiff?|hei[cf]s?|bmp)$/i
/** Formats of phones that the decoder cannot read. Slack's smaller version is a JPEG or PNG. */
const HEIC = /\bhei[cf]s?\b/i
/** An id in the address of a file: `https://files.slack.com/files-pri/T1-F1/a.png`. */
const ADDRESSED = /\/(?:\w+-)?(F[A-Z0-9]+)(?:\/|$)/
/** Depth of nested blocks that is searched. */
const MAX_DEPTH = 8

/** The message's own pictures, else those of a message it quotes. */
export function picturesOf({ files, blocks, attachments, user }: SlackMessage): NearestPictures {
  const own = [...files.filter(isPicture).map(pictureOf), ...picturesInBlocks(blocks)]
  if (own.length > 0) return { pictures: unique(own), owner: user }
  for (const quoted of attachments) {
    const pictures = unique([
      ...quoted.files.filter(isPicture).map(pictureOf),
      ...picturesInBlocks([quoted.blocks, quoted.message_blocks]),
    ])
    if (pictures.length > 0) return { pictures, owner: quoted.author_id }
  }
  return { pictures: [] }
}

/** Whether the file is one, or may be one: files.info says more. */
export function isPicture(file: SlackFile): boolean {
  const { mimetype = '', filetype = '', name = '', mode = '', file_access } = file
  if (file_access === 'check_file_info' || GONE_MODES.has(mode)) return true
  if (!UNKNOWN_TYPE.test(mimetype)) {
    return mimetype.startsWith('image/') && !NOT_PICTURES.test(`${mimetype} ${filetype}`)
  }
  if (!UNKNOWN_FILETYPE.test(filetype)) return PICTURE_NAME.test(filetype)
  return PICTURE_NAME.test(name) || !/\.\w{1,5}$/.test(name)
}

export function pictureOf(file: SlackFile): PictureRef {
  const { id, size: sizeBytes, mode = '', file_access, original_w = 0, original_h = 0 } = file
  const { mimetype = '', filetype = '', name = '' } = file
  const smallerUrl = file.thumb_1024 ?? file.thumb_960 ?? file.thumb_800 ?? file.thumb_720
  // Of a file that another service stores, Slack has at most a smaller version.
  const own = mode === 'external' ? smallerUrl : (file.url_private ?? file.url_private_download)
  const isUnreadable =
    HEIC.test(`${mimetype} ${filetype} ${name}`) ||
    (sizeBytes ?? 0) > MAX_PICTURE_BYTES ||
    original_w * original_h > MAX_PIXELS
  return {
    id,
    name: name || undefined,
    altText: file.alt_txt?.trim() || undefined,
    url: file_access === 'check_file_info' ? undefined : own,
    smallerUrl,
    sizeBytes,
    unavailable: GONE_MODES.has(mode) || undefined,
    isUnreadable: isUnreadable || undefined,
  }
}

const fileBlock = z.object({ type: z.literal('file'), file_id: z.string() })
const slackFile = z.object({
  alt_text: maybe(z.string()),
  slack_file: z.object({ id: z.string().optional(), url: z.string().optional() }),
})

/**
 * Files that blocks name: a file block (an app_mention may name its files only there), and image blocks or elements with
 * a `slack_file`, by id or address.
 */
function picturesInBlocks(blocks: unknown, depth = 0): PictureRef[] {
  if (depth > MAX_DEPTH || typeof blocks !== 'object' || blocks === null) return []
  if (Array.isArray(blocks)) return blocks.flatMap((each) => picturesInBlocks(each, depth + 1))
  const file = fileBlock.safeParse(blocks).data
  if (file) return [{ id: file.file_id }]
  const image = slackFile.safeParse(blocks).data
  const id = image?.slack_file.id ?? ADDRESSED.exec(image?.slack_file.url ?? '')?.[1]
  if (id !== undefined) return [{ id, altText: image?.alt_text?.trim() || undefined }]
  return Object.values(blocks).flatMap((each) => picturesInBlocks(each, depth + 1))
}

/** A file may be in `files` and in a block. The first reference says more. */
function unique(pictures: readonly PictureRef[]): PictureRef[] {
  return pictures.filter(({ id }, index) => pictures.findIndex((each) => each.id === id) === index)
}
