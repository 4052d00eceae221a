// A reference's description -> prompt ids, generation settings, and logits without padding.

import { ArtifactError } from '../errors.ts'
import type { Model } from '../run/model.ts'
import { completeSettings, type GenerationSettings } from '../run/settings.ts'
import { effectiveArguments } from './generate-arguments.ts'
import type { Description } from './reference.ts'

/** transformers' default for the number of generated tokens. */
const DEFAULT_NEW_TOKENS = 20

/** For each of the description's prompts, the ids after the image. */
export function readPrompts(
  { tokenizer }: Model,
  { prompts, input_ids }: Description,
): (readonly number[])[] {
  return input_ids ?? prompts.map((prompt) => tokenizer.encodeTrusted(prompt))
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
