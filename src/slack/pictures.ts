// Files of a message -> pictures, the nearest first, and where their bytes are.

import type { PictureRef } from '../chat/question.ts'
import type { SlackFile, SlackMessage } from './payloads.ts'

/** Gone, or behind a paid plan's limit. */
const GONE_MODES = new Set(['tombstone', 'hidden_by_limit'])

/** Types that carry `image/` and are drawings or documents: we would only refuse them. */
const NOT_PICTURES = /svg|photoshop|dwg/i

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
export function isPicture({ mimetype, filetype, mode, file_access }: SlackFile): boolean {
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
