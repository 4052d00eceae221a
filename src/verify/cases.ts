// A reference's description -> prompt ids, generation settings, and logits without padding.
//
// transformers' processor makes rows of equal length: image placeholders, padding on the left, text. transformers counts
// all of these positions.

import { ArtifactError } from '../errors.ts'
import type { Model } from '../run/model.ts'
import { completeSettings, type GenerationSettings } from '../run/settings.ts'
import { effectiveArguments } from './generate-arguments.ts'
import type { Description } from './reference.ts'

/** transformers' default for the number of generated tokens. */
const DEFAULT_NEW_TOKENS = 20

/** OPT's tokenizer pads with this id even if the model's config names no padding token. */
const OPT_PAD = 1

export interface RecordedPrompt {
  /** The ids after the image, without padding. */
  ids: readonly number[]
  /** For each position of the recorded row, whether it is not padding. Absent without a recorded row. */
  real?: readonly boolean[]
}

/** One prompt for each of the description's prompts or rows of ids. */
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
    // If the padding id is also the BOS token, the last of them is not padding.
    const bos = tokenizer.encodeTrusted('')
    const hasBos = bos.every((id, at) => row[text - bos.length + at] === id)
    const start = hasBos ? text - bos.length : text
    return { ids: row.slice(start), real: row.map((id, at) => at >= start || id === image_token_id) }
  })
}

/** Recorded arguments of generate as settings, with transformers' default length. @throws ArtifactError `bad_reference`. */
export function settingsFor(
  { manifest }: Model,
  recorded: Record<string, unknown>,
  promptLength: number,
): GenerationSettings {
  const { max_length, ...given } = effectiveArguments(recorded)
  const { queries, max_positions } = manifest.sizes
  const length = queries + promptLength
  if (given['max_new_tokens'] === undefined) {
    given['max_new_tokens'] =
      typeof max_length === 'number'
        ? max_length - length
        : Math.min(DEFAULT_NEW_TOKENS, max_positions - length)
  }
  const settings = given as Partial<GenerationSettings>
  if (settings.max_new_tokens! >= 1) return completeSettings(settings)
  throw new ArtifactError(
    'bad_reference',
    `After ${queries} queries and ${promptLength} tokens of prompt, max_length or the model's ${max_positions} positions leave none for an answer. Record the reference with a shorter prompt.`,
  )
}

/** Logits [N, V] of a padded row -> [Q + T, V]. */
export function withoutPadding(
  { manifest }: Model,
  logits: Float32Array,
  { ids, real }: RecordedPrompt,
): Float32Array {
  const { queries, vocabulary: V } = manifest.sizes
  const positions = logits.length / V
  const padding = positions - queries - ids.length
  if (padding <= 0) return logits
  let keep = Array.from({ length: positions }, (_, at) => at < queries || at >= queries + padding)
  if (real?.length === positions) keep = [...real]
  if (real && real.length + queries === positions) keep = [...new Array<boolean>(queries).fill(true), ...real]
  const rows = keep.flatMap((isReal, at) => (isReal ? [logits.subarray(at * V, (at + 1) * V)] : []))
  return concat(rows)
}

export function concat(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
