// A reply -> a Slack message: `text` for notifications and screen readers, `blocks` for display.

import type { types } from '@slack/bolt'
import { type ChatReply, type ReplyPart, truncateAt } from '../chat/compose.ts'

interface SlackBody {
  text: string
  blocks: types.KnownBlock[]
}

/** Characters that a section block accepts (docs.slack.dev, "Section block"). */
const MAX_SECTION_CHARACTERS = 3_000
/** Slack refuses a message with more blocks. */
const MAX_BLOCKS = 50

/** `buttons` are the last blocks. */
export function renderReply(
  { parts, notes, messages }: ChatReply,
  buttons: types.KnownBlock[] = [],
): SlackBody {
  const blocks: types.KnownBlock[] = []
  if (parts.some(({ kind }) => kind === 'alt')) blocks.push(contextBlock(messages.altText))
  for (const each of parts) blocks.push(...blocksOf(each))
  if (notes.length > 0) blocks.push(contextBlock(notes.join(' ')))
  const shown = [...blocks.slice(0, MAX_BLOCKS - buttons.length), ...buttons]
  return { text: escapeMrkdwn(parts.map(numbered).join('\n')), blocks: shown }
}

/** A caption is a preformatted block, which Slack's clients copy with one click. */
function blocksOf(part: ReplyPart): types.KnownBlock[] {
  const { number, text, kind } = part
  if (kind !== 'alt') return [section(numbered(part))]
  const box: types.RichTextBlock = {
    type: 'rich_text',
    elements: [{ type: 'rich_text_preformatted', elements: [{ type: 'text', text }], border: 0 }],
  }
  return number === undefined ? [box] : [section(`${number}.`), box]
}

function numbered({ number, text }: ReplyPart): string {
  return number === undefined ? text : `${number}. ${text}`
}

/** Plain text: Slack does not interpret markup in the model's words. */
export function section(text: string): types.SectionBlock {
  return { type: 'section', text: plain(truncateAt(text, MAX_SECTION_CHARACTERS)) }
}

function contextBlock(text: string): types.ContextBlock {
  return { type: 'context', elements: [plain(text)] }
}

export function plain(text: string): types.PlainTextElement {
  return { type: 'plain_text', text, emoji: false }
}

/** For the `text` of a message, which Slack always interprets: `<!channel>` in it must not notify anyone. */
export function escapeMrkdwn(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}
