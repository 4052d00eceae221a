// Arguments of transformers' generate() in a reference file: those that Glimpse has as settings, and those that change no
// token.

import { generationSettings } from '../run/settings.ts'

/** Glimpse's settings, and `max_length`, which includes the picture and the prompt. */
export const SETTING_NAMES = [...Object.keys(generationSettings.shape), 'max_length']

/** Other arguments, each with the value at which it changes no token. undefined: it changes none at any value. */
export const NO_EFFECT: Record<string, unknown> = {
  use_cache: undefined,
  cache_implementation: undefined,
  return_dict_in_generate: undefined,
  output_scores: undefined,
  output_logits: undefined,
  output_attentions: undefined,
  output_hidden_states: undefined,
  bos_token_id: undefined,
  pad_token_id: undefined,
  trust_remote_code: undefined,
  transformers_version: undefined,
  _from_model_config: undefined,
  low_memory: undefined,
  synced_gpus: undefined,
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
  return Object.fromEntries(
    Object.entries(given).filter(([name, value]) => {
      if (value === null || value === undefined) return false
      return !(Object.hasOwn(NO_EFFECT, name) && (NO_EFFECT[name] === undefined || NO_EFFECT[name] === value))
    }),
  )
}
