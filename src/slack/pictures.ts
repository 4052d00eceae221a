// Files of a Slack message -> picture references: its own, else those it quotes.

import type { NearestPictures, PictureRef } from '../chat/question.ts'
import type { SlackFile, SlackMessage } from './payloads.ts'

/** Modes of files that are deleted, or hidden by the limit of a free plan. */
const GONE_MODES = new Set(['tombstone', 'hidden_by_limit'])
/** `image/` types of drawings and documents, which the decoder refuses. */
const NOT_PICTURES = /svg|photoshop|dwg/i

/** The message's own pictures, else those of a message it quotes. */
export function picturesOf({ files, blocks, attachments, user }: SlackMessage): NearestPictures {
  const own = files.filter(isPicture).map(pictureOf)
  if (own.length > 0) return { pictures: own, owner: user }
  // An app_mention may name its files only in blocks.
  const named = blocks.flatMap(({ type, file_id }) => (type === 'file' && file_id ? [{ id: file_id }] : []))
  if (named.length > 0) return { pictures: named, owner: user }
  const quoted = attachments.find((each) => each.files.some(isPicture))
  if (!quoted) return { pictures: [] }
  return { pictures: quoted.files.filter(isPicture).map(pictureOf), owner: quoted.author_id }
}

/** A file of another workspace, or a deleted one, has no type: it counts as a picture. */
export function isPicture({ mimetype = '', filetype, mode = '', file_access }: SlackFile): boolean {
  if (file_access === 'check_file_info' || GONE_MODES.has(mode)) return true
  return mimetype.startsWith('image/') && !NOT_PICTURES.test(`${mimetype} ${filetype}`)
}

export function pictureOf(file: SlackFile): PictureRef {
  const { id, size: sizeBytes, mode = '', file_access } = file
  const smallerUrl = file.thumb_1024 ?? file.thumb_960 ?? file.thumb_720
  // Of a file that another service stores, Slack has at most a smaller version.
  const own = mode === 'external' ? smallerUrl : file.url_private
  const url = file_access === 'check_file_info' ? undefined : own
  return { id, url, smallerUrl, sizeBytes, unavailable: GONE_MODES.has(mode) || undefined }
}
