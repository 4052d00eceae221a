// What a recording means for one of its cases: the prompt's ids, the settings, which logits are of real tokens.
//
// A processor hands the model placeholders for the picture, padding on the left and the text, in rows of one length;
// transformers counts all of it.

import { ArtifactError } from '../errors.ts'
import type { Model } from '../run/model.ts'
import { completeSettings, type GenerationSettings } from '../run/settings.ts'
import { effectiveArguments } from './generate-arguments.ts'
import type { Description } from './reference.ts'

/** What generate does unless told how long an answer may be. */
const DEFAULT_NEW_TOKENS = 20

/** What OPT's tokenizer pads with, also where the model's config has no padding. */
const OPT_PAD = 1

export interface RecordedPrompt {
  /** As the language model gets them after the picture. */
  ids: readonly number[]
  /** Of the recorded row, if there is one: which places are no padding. */
  real?: readonly boolean[]
}

export function readPrompts({ manifest, tokenizer }: Model, description: Description): RecordedPrompt[] {
  const { prompts, input_ids, attention_mask } = description
  const { image_token_id } = manifest.tokens
  const padId = description.pad_token_id ?? manifest.tokens.pad_token_id ?? OPT_PAD
  if (!input_ids) return prompts.map((prompt) => ({ ids: tokenizer.encodeTrusted(prompt) }))
  return input_ids.map((row, i) => {
    const mask = attention_mask?.[i]
    if (mask?.length === row.length) {
      const real = mask.map((one) => one !== 0)
      return { ids: row.filter((id, at) => real[at] && id !== image_token_id), real }
    }
    const found = row.findIndex((id) => id !== image_token_id && id !== padId)
    const text = found === -1 ? row.length : found
    // Where padding is the id that texts begin with, the last of it is no padding.
    const begins = tokenizer.encodeTrusted('')
    const start = begins.every((id, at) => row[text - begins.length + at] === id)
      ? text - begins.length
      : text
    return { ids: row.slice(start), real: row.map((id, at) => at >= start || id === image_token_id) }
  })
}

/** The settings of one run, with the length that transformers would give it. Throws ArtifactError `bad_reference`. */
export function settingsFor(
  { manifest }: Model,
  recorded: Record<string, unknown>,
  promptLength: number,
): GenerationSettings {
  const { max_length, ...asked } = effectiveArguments(recorded)
  const { queries, max_positions } = manifest.sizes
  const length = queries + promptLength
  if (asked['max_new_tokens'] === undefined) {
    asked['max_new_tokens'] =
      typeof max_length === 'number'
        ? max_length - length
        : Math.min(DEFAULT_NEW_TOKENS, max_positions - length)
  }
  const settings = asked as Partial<GenerationSettings>
  if (settings.max_new_tokens! >= 1) return completeSettings(settings)
  throw new ArtifactError(
    'bad_reference',
    `Expected room for an answer after ${queries} queries and ${promptLength} tokens of prompt but max_length or the model's ${max_positions} positions leave none. Record it with a shorter prompt.`,
  )
}

/** [N, V] -> [Q + T, V]: the columns of padding in a batch's row say nothing. */
export function withoutPadding(
  { manifest }: Model,
  logits: Float32Array,
  { ids, real }: RecordedPrompt,
): Float32Array {
  const { queries, vocabulary: V } = manifest.sizes
  const columns = logits.length / V
  const padding = columns - queries - ids.length
  if (padding <= 0) return logits
  const picture = new Array<boolean>(queries).fill(true)
  let keep = Array.from({ length: columns }, (_, at) => at < queries || at >= queries + padding)
  if (real?.length === columns) keep = [...real]
  if (real && real.length + queries === columns) keep = [...picture, ...real]
  const rows = keep.flatMap((isReal, at) => (isReal ? [logits.subarray(at * V, (at + 1) * V)] : []))
  const kept = new Float32Array(rows.length * V)
  rows.forEach((row, at) => {
    kept.set(row, at * V)
  })
  return kept
}
