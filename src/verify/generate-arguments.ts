// Arguments of transformers' generate() in a reference file -> generation settings: which arguments Glimpse has as settings,
// and which change no token.

import { RequestError } from '../errors.ts'
import { completeSettings, type GenerationSettings, generationSettings } from '../generation-settings.ts'
import type { LanguageModel } from '../run/language-model.ts'

/** Glimpse's settings, and `max_length`, which includes what transformers' processors see of the prompt. */
export const SETTING_NAMES = [...Object.keys(generationSettings.shape), 'max_length']

/** Arguments that change no token at any value. */
const FREE =
  /^(use_cache|cache_implementation|return_dict_in_generate|output_\w+|(bos|pad)_token_id|trust_remote_code|transformers_version|_from_model_config|low_memory|synced_gpus)$/

/** Other arguments, each with the value at which it changes no token. */
const NO_EFFECT: Record<string, unknown> = {
  num_beam_groups: 1,
  diversity_penalty: 0,
  renormalize_logits: false,
  remove_invalid_values: false,
  encoder_no_repeat_ngram_size: 0,
  encoder_repetition_penalty: 1,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  min_p: 0,
  guidance_scale: 1,
  token_healing: false,
}

/** transformers' default for the number of generated tokens. */
const DEFAULT_NEW_TOKENS = 20

/**
 * Recorded arguments of generate as settings, with transformers' default length.
 * @throws RequestError `bad_settings` for an argument that Glimpse does not have, or if no token is left to generate
 */
export function settingsFor(
  language: Pick<LanguageModel, 'context' | 'room'>,
  recorded: Record<string, unknown>,
  promptIds: readonly number[],
): GenerationSettings {
  const { max_length, ...given } = effectiveArguments(recorded)
  if (given['max_new_tokens'] === undefined) {
    const most =
      typeof max_length === 'number'
        ? max_length - language.context(promptIds, []).length
        : Math.min(DEFAULT_NEW_TOKENS, language.room(promptIds.length))
    if (most < 1) {
      const limit = typeof max_length === 'number' ? `max_length ${max_length}` : "the model's positions"
      const message = `Expected room for an answer, but a prompt of ${promptIds.length} ids leaves none in ${limit}.`
      throw new RequestError('bad_settings', `${message} Record a shorter prompt.`)
    }
    given['max_new_tokens'] = most
  }
  return completeSettings(given as Partial<GenerationSettings>)
}

/** The recorded arguments that can change a token. transformers treats `null` as absent. */
function effectiveArguments(given: Record<string, unknown>): Record<string, unknown> {
  const isEffective = ([name, value]: [string, unknown]) =>
    value !== null && value !== undefined && !FREE.test(name) && NO_EFFECT[name] !== value
  return Object.fromEntries(Object.entries(given).filter(isEffective))
}
