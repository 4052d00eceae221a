// A reply as Slack shows it: text for notifications and screen readers, blocks for the eye.

import type { types } from '@slack/bolt'
import { type ChatReply, type ReplyPart, truncateAt } from '../chat/compose.ts'

export interface SlackBody {
  text: string
  blocks: types.KnownBlock[]
}

/** What a section block takes (docs.slack.dev, section block). */
const MAX_SECTION = 3_000
/** A message of more blocks is refused. */
const MAX_BLOCKS = 50

export function renderReply({ parts, notes, messages }: ChatReply): SlackBody {
  const blocks: types.KnownBlock[] = []
  if (parts.some(({ kind }) => kind === 'alt')) blocks.push(contextBlock(messages.altText))
  for (const each of parts) blocks.push(...blocksOf(each))
  if (notes.length > 0) blocks.push(contextBlock(notes.join(' ')))
  const lines = parts.map(({ number, text }) => (number === undefined ? text : `${number}. ${text}`))
  return { text: escapeMrkdwn(lines.join('\n')), blocks: blocks.slice(0, MAX_BLOCKS) }
}

/** A caption stands in a box of its own, which Slack lets one copy with a click. */
function blocksOf({ number, text, kind }: ReplyPart): types.KnownBlock[] {
  if (kind !== 'alt') return [section(number === undefined ? text : `${number}. ${text}`)]
  const box: types.RichTextBlock = {
    type: 'rich_text',
    elements: [{ type: 'rich_text_preformatted', elements: [{ type: 'text', text }], border: 0 }],
  }
  return number === undefined ? [box] : [section(`${number}.`), box]
}

/** Plain: the model's words are words, whatever Slack's markup would make of them. */
export function section(text: string): types.SectionBlock {
  return { type: 'section', text: { type: 'plain_text', text: truncateAt(text, MAX_SECTION), emoji: false } }
}

export function contextBlock(text: string): types.ContextBlock {
  return { type: 'context', elements: [{ type: 'plain_text', text, emoji: false }] }
}

/** A message's `text` is always markup: `<!channel>` in it must call nobody. */
export function escapeMrkdwn(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}
