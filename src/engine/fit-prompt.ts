// An ask -> the words the language model is given after the picture, as text and ids that leave room for an answer.

import { RequestError } from '../errors.ts'
import type { Model } from '../run/model.ts'
import { type Turn, toPrompt, turnText } from '../tokens/prompt.ts'
import type { InferenceRequest } from './request.ts'

/** The prompt's text and ids, without as many of the oldest turns as it takes to leave room for an answer. */
export function fitPrompt(model: Model, request: InferenceRequest): { text: string; ids: number[] } {
  const { max_positions, queries } = model.manifest.sizes
  const room = max_positions - queries - 1
  let history = request.prompt === undefined ? newestThatFit(model, request, room) : []
  while (true) {
    const text = request.prompt ?? toPrompt(request.question, history)
    // Without words transformers lets the text begin by itself, whatever the tokenizer would put there.
    const ids = text === '' ? [model.manifest.tokens.bos_token_id] : model.tokenizer.encode(text)
    if (ids.length <= room) return { text, ids }
    if (history.length === 0) {
      throw new RequestError(
        'question_too_long',
        `Expected a question of at most ${room} tokens but got ${ids.length}. Ask in fewer words.`,
      )
    }
    history = history.slice(1)
  }
}

/**
 * The newest turns that have room, and one more: tokens may join across turns, so the last word is with the whole
 * prompt. No turn is encoded more than once and none older is looked at, however long a conversation comes.
 */
function newestThatFit(
  { tokenizer }: Model,
  { question, history = [] }: InferenceRequest,
  room: number,
): readonly Turn[] {
  let from = history.length
  let used = from === 0 ? 0 : tokenizer.encode(toPrompt(question)).length
  while (from > 0 && used <= room) {
    from--
    used += tokenizer.encode(` ${turnText(history[from]!)}`).length
  }
  return history.slice(from)
}
