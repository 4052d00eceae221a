// Arguments of transformers' generate() in a reference file: those that Glimpse has as settings, and those that change no
// token.

import { generationSettings } from '../run/settings.ts'

/** Glimpse's settings, and `max_length`, which includes the picture and the prompt. */
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

/** The recorded arguments that can change a token. transformers treats `null` as absent. */
export function effectiveArguments(given: Record<string, unknown>): Record<string, unknown> {
  const isEffective = ([name, value]: [string, unknown]) =>
    value !== null && value !== undefined && !FREE.test(name) && NO_EFFECT[name] !== value
  return Object.fromEntries(Object.entries(given).filter(isEffective))
}
