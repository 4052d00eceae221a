// A reply -> the texts of Discord messages: captions to copy, answers, notes. No message notifies anyone or embeds links.

import { bold, codeBlock, escapeMarkdown, spoiler as hidden, MessageFlags, subtext } from 'discord.js'
import { type ChatReply, type ReplyPart, splitText, truncateAt } from '../chat/compose.ts'
import type { Question } from '../chat/question.ts'

/** Characters of a message (resource "Message", "Create message"). A text has at least as many UTF-16 units. */
const MAX_MESSAGE_CHARACTERS = 2_000
/** Room for `-# 10/12` under a piece. */
const FOOT_CHARACTERS = 16
const MAX_PIECE_CHARACTERS = MAX_MESSAGE_CHARACTERS - FOOT_CHARACTERS
/** Leaves room for a number before the text. */
const MAX_TEXT_CHARACTERS = MAX_PIECE_CHARACTERS - 16
const MAX_THREAD_NAME_CHARACTERS = 100

/** Texts of at most 2,000 characters. `before` is put above the reply, `after` below it as small print. */
export function renderReply(
  reply: ChatReply,
  before: readonly string[] = [],
  after: readonly string[] = [],
): string[] {
  const { parts, notes, messages } = reply
  const blocks = [...before]
  for (const [index, part] of parts.entries()) {
    const isFirstAlt = part.kind === 'alt' && parts.findIndex(({ kind }) => kind === 'alt') === index
    const texts = blocksOf(part)
    blocks.push(...(isFirstAlt ? [`${subtext(messages.altText)}\n${texts[0]}`, ...texts.slice(1)] : texts))
  }
  const small = [...notes, ...after].map((note) => subtext(note))
  if (small.length > 0) blocks.push(small.join('\n'))
  const pieces = packed(blocks)
  if (pieces.length === 1) return pieces
  return pieces.map((text, index) => `${text}\n${subtext(`${index + 1}/${pieces.length}`)}`)
}

/** The number of pieces of the reply that this piece belongs to. */
export function piecesOf(content: string): number {
  const [, total] = /\n-# \d+\/(\d+)$/.exec(content) ?? []
  return total === undefined ? 1 : Number(total)
}

/** A message's body. Mentions in it do not notify, and links are not embedded. */
export function bodyOf(content: string, flags = 0): Record<string, unknown> {
  return {
    content,
    flags: flags | MessageFlags.SuppressEmbeds,
    allowed_mentions: { parse: [], replied_user: false },
  }
}

/** The question or the first answer. A thread about a spoiler is called Glimpse. */
export function threadName({ parts }: ChatReply, { text }: Question): string {
  const [first] = parts
  const name = first && !parts.some(({ spoiler }) => spoiler) ? text || first.text : ''
  return truncateAt(name.replace(/\s+/g, ' ').trim(), MAX_THREAD_NAME_CHARACTERS) || 'Glimpse'
}

/** One text, or several for an answer that is longer than a message. */
function blocksOf({ kind, text, number, spoiler }: ReplyPart): string[] {
  const hide = (shown: string) => (spoiler ? hidden(shown) : shown)
  const numbered = (shown: string, gap: string) =>
    number === undefined ? shown : `${bold(`${number}.`)}${gap}${shown}`
  switch (kind) {
    case 'alt':
      return [numbered(hide(codeBlock(plain(text))), '\n')]
    case 'answer':
      return fitting(text, (part) => hide(escaped(part))).map((part, index) =>
        index === 0 ? numbered(part, ' ') : part,
      )
    case 'info':
    case 'problem':
      return [numbered(text, ' ')]
  }
}

/** Splits the text until each part fits with its marks, which make it longer. */
function fitting(text: string, mark: (part: string) => string, limit = MAX_TEXT_CHARACTERS): string[] {
  return splitText(text, limit).flatMap((part) => {
    const marked = mark(part)
    return marked.length <= MAX_TEXT_CHARACTERS ? [marked] : fitting(part, mark, Math.floor(limit / 2))
  })
}

/** For a code block: without the marks that end the block or a spoiler. */
function plain(text: string): string {
  return text.replaceAll('`', "'").replaceAll('||', '| |')
}

/** The model's words without markup, mentions and lists. */
function escaped(text: string): string {
  const marks = { heading: true, bulletedList: true, numberedList: true, maskedLink: true }
  return escapeMarkdown(text, marks)
    .replace(/^(\s*)(>|-#)/gm, '$1\\$2')
    .replaceAll('<', '\\<')
}

/** Joins blocks to as few pieces as fit. */
function packed(blocks: readonly string[]): string[] {
  const pieces: string[] = []
  for (const block of blocks) {
    const joined = pieces.length === 0 ? block : `${pieces.at(-1)}\n${block}`
    if (pieces.length > 0 && joined.length <= MAX_PIECE_CHARACTERS) pieces[pieces.length - 1] = joined
    else pieces.push(block)
  }
  return pieces
}
