// Question and history -> the prompt, as text and token ids, that leaves room for at least one generated token and that the
// queries can read, where they do. The oldest turns are left out first, and turns without an answer always.

import type { Manifest } from '../../artifact/contract.ts'
import { RequestError } from '../../errors.ts'
import type { LanguageModel } from '../../run/language-model.ts'
import type { Model } from '../../run/model.ts'
import { type Turn, toPrompt, turnText } from '../../tokens/prompt.ts'
import type { InferenceRequest } from '../request.ts'
import type { QueryText } from './task.ts'

/** @throws RequestError `question_too_long` when the question does not fit without any history */
export function fitPrompt(
  model: Model,
  language: LanguageModel,
  request: InferenceRequest,
): { text: string; ids: number[]; queryText?: QueryText } {
  const form = model.manifest.prompt
  let history = request.prompt === undefined ? newestThatFit(model, language, request) : []
  while (true) {
    const text = request.prompt ?? toPrompt(form, request.question, history)
    // transformers reads an empty prompt as its begin token alone, whatever the tokenizer adds to an empty text.
    const ids = language.start(text === '' ? [] : model.tokenizer.encode(text))
    const queryText = model.queryTokenizer && { text, ids: model.queryTokenizer.encode(text) }
    const excess = [
      { count: ids.length, most: ids.length + language.room(ids.length) - 1 },
      { count: queryText?.ids.length ?? 0, most: model.manifest.queries.text?.positions ?? 0 },
    ].find(({ count, most }) => count > most)
    if (!excess) return { text, ids, queryText }
    if (history.length === 0) {
      throw new RequestError(
        'question_too_long',
        `The question has ${excess.count} tokens, but the model reads at most ${excess.most}. Ask in fewer words.`,
      )
    }
    history = history.slice(1)
  }
}

/** Whether a caption or an answer says that the model does not know. */
export function saysUnknown({ unknown }: Pick<Manifest, 'unknown'>, text: string): boolean {
  return unknown.includes(text.trim().replace(/\.$/, '').toLowerCase())
}

/**
 * Returns the newest turns with an answer that the model takes and that fit, and one more: tokens may merge across turns, so only the
 * whole prompt is counted exactly. Each turn is encoded once, and turns older than those are not encoded, however long the
 * history is.
 */
function newestThatFit(
  { tokenizer, manifest }: Model,
  language: LanguageModel,
  { question, history: given = [] }: InferenceRequest,
): readonly Turn[] {
  const { prompt } = manifest
  const all = given.filter(({ answer }) => answer.trim() !== '' && !saysUnknown(manifest, answer))
  const history = all.slice(Math.max(0, all.length - (prompt.turns ?? all.length)))
  let from = history.length
  let used = from === 0 ? 0 : tokenizer.encode(toPrompt(prompt, question)).length
  while (from > 0 && language.room(used) >= 1) {
    from--
    used += tokenizer.encode(` ${turnText(prompt, history[from]!)}`).length
  }
  return history.slice(from)
}
