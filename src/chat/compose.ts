// What the model said -> what a person reads, before a platform gives it its looks.

import type { Messages } from '../i18n/messages.ts'

/** The part of a reply about one picture. */
export interface ReplyPart {
  /** Its number, from 1, where there are several. */
  number?: number
  text: string
  /** `alt`: can stand as the picture's alt text as it is, and is offered for copying. */
  kind: 'alt' | 'answer' | 'problem'
  spoiler: boolean
}

export interface ChatReply {
  parts: ReplyPart[]
  /** Small print: that a machine made it, that the words are English, what was left out. */
  notes: string[]
  /** For the asker's eyes alone, where the platform can do that. */
  ephemeral: boolean
  messages: Messages
}

/** Screen readers cut alt text off; Discord takes no longer description of an attachment. */
export const MAX_ALT_CHARACTERS = 1_024

/** A caption as alt text: screen readers say "image" themselves, so it must not begin with it. */
export function altText(caption: string): string {
  const bare = caption
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/^(there is |this is )?(an?|the) (image|picture|photo|photograph) of /i, '')
  const text = bare === '' ? caption.trim() : bare
  return text.length <= MAX_ALT_CHARACTERS ? text : `${truncateAt(text, MAX_ALT_CHARACTERS - 1)}…`
}

/** The longest beginning of at most so many UTF-16 units that ends at a word and halves no character. */
export function truncateAt(text: string, limit: number): string {
  if (text.length <= limit) return text
  const space = text.slice(0, limit + 1).search(/\s\S*$/)
  if (space > limit / 2) return text.slice(0, space).trimEnd()
  // No word to end at: between two characters as people count them.
  let end = 0
  for (const { index, segment } of new Intl.Segmenter().segment(text.slice(0, limit + 64))) {
    if (index + segment.length > limit) break
    end = index + segment.length
  }
  return text.slice(0, end > 0 ? end : limit)
}

/** A text in pieces of at most so many UTF-16 units, each ending at a line, else at a word. */
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
