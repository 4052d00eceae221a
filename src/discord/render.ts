// A reply -> the texts of Discord messages: captions to copy, answers, small print, nothing that pings or unfurls.

import { escapeMarkdown } from 'discord.js'
import { type ChatReply, type ReplyPart, splitText, truncateAt } from '../chat/compose.ts'
import type { Question } from '../chat/question.ts'

/** Characters of a message (resource "Message", "Create message"); UTF-16 units are never fewer. */
export const MAX_MESSAGE_CHARACTERS = 2_000
/** Room for `-# 10/12` under a piece. */
const FOOT_CHARACTERS = 16
/** Room for a number before a text. */
const MAX_TEXT_CHARACTERS = MAX_MESSAGE_CHARACTERS - FOOT_CHARACTERS - 16
const MAX_THREAD_NAME_CHARACTERS = 100
/** `SUPPRESS_EMBEDS` and `EPHEMERAL` ("Message flags"). */
const SUPPRESS_EMBEDS = 4
export const EPHEMERAL = 64

/** Texts of at most 2,000 characters. `before` and `after` stand around it: why it comes elsewhere, what else to try. */
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
    blocks.push(...(isFirstAlt ? [`-# ${messages.altText}\n${texts[0]}`, ...texts.slice(1)] : texts))
  }
  const small = [...notes, ...after].map((note) => `-# ${note}`)
  if (small.length > 0) blocks.push(small.join('\n'))
  const pieces = packed(blocks)
  return pieces.length === 1
    ? pieces
    : pieces.map((text, index) => `${text}\n-# ${index + 1}/${pieces.length}`)
}

/** How many pieces the reply has of which this is one. */
export function piecesOf(content: string): number {
  const [, total] = /\n-# \d+\/(\d+)$/.exec(content) ?? []
  return total === undefined ? 1 : Number(total)
}

/** What every message of ours is sent with: it pings nobody and shows no links, whatever the model says. */
export function bodyOf(content: string, flags = 0): Record<string, unknown> {
  return { content, flags: flags | SUPPRESS_EMBEDS, allowed_mentions: { parse: [], replied_user: false } }
}

/** A thread is called by what it is about, unless that is hidden. */
export function threadName({ parts }: ChatReply, { text }: Question): string {
  const [first] = parts
  const name = first && !parts.some(({ spoiler }) => spoiler) ? text || first.text : ''
  return truncateAt(name.replace(/\s+/g, ' ').trim(), MAX_THREAD_NAME_CHARACTERS) || 'Glimpse'
}

/** One text each, but for an answer that is longer than a message. */
function blocksOf({ kind, text, number, spoiler }: ReplyPart): string[] {
  const hide = (shown: string) => (spoiler ? `||${shown}||` : shown)
  const numbered = (shown: string, gap: string) =>
    number === undefined ? shown : `**${number}.**${gap}${shown}`
  switch (kind) {
    case 'alt':
      return [numbered(hide(`\`\`\`\n${plain(text)}\n\`\`\``), '\n')]
    case 'answer':
      return fitting(text, (part) => hide(escaped(part))).map((part, index) =>
        index === 0 ? numbered(part, ' ') : part,
      )
    case 'problem':
      return [numbered(text, ' ')]
  }
}

/** Marks make a text longer: cut until it fits with them. */
function fitting(text: string, mark: (part: string) => string, limit = MAX_TEXT_CHARACTERS): string[] {
  return splitText(text, limit).flatMap((part) => {
    const marked = mark(part)
    return marked.length <= MAX_TEXT_CHARACTERS ? [marked] : fitting(part, mark, Math.floor(limit / 2))
  })
}

/** In a code block nothing has a meaning but what ends it, and two bars where it is hidden. */
function plain(text: string): string {
  return text.replaceAll('`', "'").replaceAll('||', '| |')
}

/** Words of the model as words: no markup, no mention, no list. */
function escaped(text: string): string {
  const marks = { heading: true, bulletedList: true, numberedList: true, maskedLink: true }
  return escapeMarkdown(text, marks)
    .replace(/^(\s*)(>|-#)/gm, '$1\\$2')
    .replaceAll('<', '\\<')
}

function packed(blocks: readonly string[]): string[] {
  const limit = MAX_MESSAGE_CHARACTERS - FOOT_CHARACTERS
  const pieces: string[] = []
  for (const block of blocks) {
    const last = pieces.at(-1)
    if (last !== undefined && last.length + 1 + block.length <= limit)
      pieces[pieces.length - 1] = `${last}\n${block}`
    else pieces.push(block)
  }
  return pieces
}
