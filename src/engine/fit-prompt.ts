// Question and history -> the prompt, as text and token ids, that fits the model's positions beside the image
// embeddings and one generated token. The oldest turns are left out first.

import { RequestError } from '../errors.ts'
import type { Model } from '../run/model.ts'
import { type Turn, toPrompt, turnText } from '../tokens/prompt.ts'
import type { InferenceRequest } from './request.ts'

/** @throws RequestError `question_too_long` when the question does not fit without any history */
export function fitPrompt(model: Model, request: InferenceRequest): { text: string; ids: number[] } {
  const { max_positions, queries } = model.manifest.sizes
  const room = max_positions - queries - 1
  let history = request.prompt === undefined ? newestThatFit(model, request, room) : []
  while (true) {
    const text = request.prompt ?? toPrompt(request.question, history)
    // An empty prompt is the begin token alone, as in transformers, whatever the tokenizer adds to an empty text.
    const ids = text === '' ? [model.manifest.tokens.bos_token_id] : model.tokenizer.encode(text)
    if (ids.length <= room) return { text, ids }
    if (history.length === 0) {
      throw new RequestError(
        'question_too_long',
        `The question has ${ids.length} tokens, but the model reads at most ${room}. Ask in fewer words.`,
      )
    }
    history = history.slice(1)
  }
}

/**
 * Returns the newest turns that fit, and one more: tokens may merge across turns, so only the whole prompt is counted
 * exactly. Each turn is encoded once, and turns older than those are not encoded, however long the history is.
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
