// The buttons under a reply: who may press them, and the question of "again".

import { sha256Hex } from '../hash.ts'
import type { EventDeps } from './adapter.ts'
import type { ChatReply } from './compose.ts'
import type { Question } from './question.ts'

/** What the buttons do, in their order. */
export const ACTIONS = ['ask', 'again', 'delete'] as const
export type Action = (typeof ACTIONS)[number]

/** The buttons of a reply: none where nothing was answered. Clients remove an ephemeral message themselves. */
export function actionsUnder({ parts, ephemeral }: ChatReply): readonly Action[] {
  if (!parts.some(({ kind }) => kind === 'alt' || kind === 'answer')) return []
  return ACTIONS.filter((action) => action !== 'delete' || !ephemeral)
}

/** Whether the reply has captions: "again" then asks for one, whatever was asked about the picture before. */
export function isCaption({ parts }: ChatReply): boolean {
  return parts.some(({ kind }) => kind === 'alt')
}

/** Near the most likely text, and another one each time: the same question would get the same answer. */
const SAMPLED = { do_sample: true, temperature: 0.7, top_p: 0.9 }

/**
 * The question with the words of the last one in the conversation of a reply; without words it asks for a caption.
 * `conversation`: absent for a reply with captions.
 */
export async function askAgain(
  question: Question,
  conversation: string | undefined,
  lastQuestion: EventDeps['lastQuestion'] = async () => '',
): Promise<Question> {
  const words = conversation === undefined ? '' : await lastQuestion(conversation)
  const settings = { ...SAMPLED, seed: Number.parseInt(sha256Hex(question.id).slice(0, 8), 16) }
  const task = words === '' ? 'caption' : 'answer'
  const fields = words === '' ? { settings } : { question: words, settings }
  return { ...question, text: words, request: { task, fields } }
}
