// The model's text -> the parts of a reply and its alt text, before a platform renders it (slack/render.ts,
// discord/render.ts).

import type { Messages } from '../i18n/messages.ts'

/** The part of a reply about one picture. */
export interface ReplyPart {
  /** The picture's number, from 1. Absent when there is one picture. */
  number?: number
  text: string
  /** `alt`: a caption that can be copied as alt text. `info`: a fixed text of Glimpse, not the model's. */
  kind: 'alt' | 'answer' | 'info' | 'problem'
  spoiler: boolean
}

export interface ChatReply {
  parts: ReplyPart[]
  /** Small print: made by a machine, in English, how many pictures were left out. */
  notes: string[]
  /** Visible to the asker only, where the platform can do that. */
  ephemeral: boolean
  messages: Messages
}

/** Discord's limit for the description of an attachment, in UTF-16 units. */
export const MAX_ALT_CHARACTERS = 1_024

/**
 * Returns a caption as alt text: with a capital and a full stop, of at most MAX_ALT_CHARACTERS. Screen readers announce
 * "image" themselves, so "an image of" is removed.
 */
export function altText(caption: string): string {
  const bare = caption
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/^(there is |this is )?(an?|the) (image|picture|photo|photograph) of /i, '')
  const text = sentence(bare === '' ? caption.trim() : bare)
  return text.length <= MAX_ALT_CHARACTERS ? text : `${truncateAt(text, MAX_ALT_CHARACTERS - 1)}…`
}

/** A first word such as "iPhone" keeps its letters. */
function sentence(text: string): string {
  if (text === '') return text
  const capital = text.replace(/^\p{Ll}+(?!\p{L})/u, (word) => word[0]!.toUpperCase() + word.slice(1))
  return /[.!?…。！？]["'”’»」)\]]*$/.test(capital) ? capital : `${capital.replace(/[\s,;:]+$/, '')}.`
}

/** Returns the longest prefix of at most `limit` UTF-16 units that ends at a word and splits no grapheme cluster. */
export function truncateAt(text: string, limit: number): string {
  if (text.length <= limit) return text
  const space = text.slice(0, limit + 1).search(/\s\S*$/)
  if (space > limit / 2) return text.slice(0, space).trimEnd()
  // No word ends in the second half.
  let end = 0
  for (const { index, segment } of new Intl.Segmenter().segment(text.slice(0, limit + 64))) {
    if (index + segment.length > limit) break
    end = index + segment.length
  }
  return text.slice(0, end > 0 ? end : limit)
}

/** Splits a text into pieces of at most `limit` UTF-16 units, each ending at a line, else at a word. */
export function splitText(text: string, limit: number): string[] {
  const pieces: string[] = []
  let rest = text.trim()
  while (rest.length > limit) {
    const line = rest.lastIndexOf('\n', limit)
    const piece = line > limit / 2 ? rest.slice(0, line) : truncateAt(rest, limit)
    pieces.push(piece.trimEnd())
    rest = rest.slice(piece.length).trimStart()
  }
  if (rest !== '') pieces.push(rest)
  return pieces
}
