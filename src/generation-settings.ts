// Settings of a request -> complete generation settings, checked once.
//
// Names, meanings and defaults are those of transformers 5.18 (GenerationConfig).

import { z } from 'zod'
import { RequestError } from './errors.ts'

const positive = z.number().int().min(1)
const nonnegative = z.number().int().nonnegative()
/** Models have one or two. Each step compares the new token with all of them. */
const MAX_EOS_TOKENS = 64
/**
 * transformers takes any positive number. Outside these ranges scores become infinite in float32, or beams fall below
 * the -1e9 that stands for minus infinity, and the tokens no longer follow the settings.
 */
const TEMPERATURE = { min: 1e-4, max: 1e6 }
const REPETITION_PENALTY = { min: 0.01, max: 100 }
const LENGTH_PENALTY = { min: -4, max: 50 }

const inRange = ({ min, max }: { min: number; max: number }) => z.number().min(min).max(max)

/** Far more characters than a preset's name has. */
const MAX_NAME = 40

/** Far more than is useful. Each beam has its own keys and values in memory. */
const MAX_BEAMS = 64

export const generationSettings = z.strictObject({
  num_beams: positive.max(MAX_BEAMS).describe('number of beams; 1 is greedy search or sampling'),
  length_penalty: inRange(LENGTH_PENALTY).describe(
    'beam score = sum of log probabilities / length ** length_penalty',
  ),
  early_stopping: z
    .union([z.boolean(), z.literal('never')])
    .describe(
      'when beam search stops: true = num_beams answers are finished; false = a better one is unlikely; never = a better one is impossible',
    ),
  max_new_tokens: positive.max(2048).describe('maximum number of generated tokens'),
  min_new_tokens: nonnegative
    .nullable()
    .describe('generated tokens before an end token is allowed; takes precedence over min_length'),
  min_length: nonnegative.describe(
    "tokens before an end token is allowed, with the picture's queries and the prompt where the answer continues them",
  ),
  eos_token_id: z
    .union([nonnegative, z.array(nonnegative).min(1).max(MAX_EOS_TOKENS)])
    .nullable()
    .describe("ids that end an answer, instead of the model's"),
  no_repeat_ngram_size: nonnegative.describe('no sequence of this many tokens occurs twice; 0 is off'),
  repetition_penalty: inRange(REPETITION_PENALTY).describe(
    'above 1 makes tokens of the answer, and of a prompt that it continues, less likely',
  ),
  penalize_answer_only: z
    .boolean()
    .describe(
      'repetition_penalty, no_repeat_ngram_size and min_length see the answer alone, as in LAVIS, and no prompt before it, as in transformers',
    ),
  zero_id_as_two: z
    .boolean()
    .describe('ids 0 of an answer become 2, as LAVIS does for LLaMA: <unk> is read as the end token'),
  do_sample: z.boolean().describe('sample tokens instead of taking the most likely one'),
  temperature: inRange(TEMPERATURE).describe(
    'when sampling: below 1 sharpens the probabilities, above 1 flattens them',
  ),
  top_k: nonnegative.describe('sample from the k most likely tokens; 0 is off'),
  top_p: inRange({ min: 0, max: 1 }).describe(
    'sample from the most likely tokens whose probabilities together reach p',
  ),
  seed: nonnegative.max(0xffffffff).describe('the same seed samples the same tokens'),
  num_return_sequences: positive.max(MAX_BEAMS).describe('number of answers; with beams the best first'),
  preset: z
    .string()
    .max(MAX_NAME)
    .nullable()
    .describe("settings of the model by name, such as paper; a setting that is given wins over the preset's"),
})

export type GenerationSettings = z.infer<typeof generationSettings>

/** transformers' defaults, and a seed. */
const DEFAULTS: GenerationSettings = {
  num_beams: 1,
  length_penalty: 1,
  early_stopping: false,
  max_new_tokens: 20,
  min_new_tokens: null,
  min_length: 0,
  eos_token_id: null,
  no_repeat_ngram_size: 0,
  repetition_penalty: 1,
  penalize_answer_only: false,
  zero_id_as_two: false,
  do_sample: false,
  temperature: 1,
  top_k: 50,
  top_p: 1,
  seed: 0,
  num_return_sequences: 1,
  preset: null,
}

/** What a model's manifest says of settings: its own defaults, and presets by name. */
export interface ModelSettings {
  generation: Partial<GenerationSettings>
  presets: Readonly<Record<string, Partial<GenerationSettings>>>
}

/**
 * The given settings, then those of the preset, then the model's, then transformers' defaults. A setting that is undefined is
 * not given.
 * @throws RequestError `bad_settings`
 */
export function completeSettings(
  given: Partial<GenerationSettings>,
  { generation, presets }: ModelSettings = { generation: {}, presets: {} },
): GenerationSettings {
  const defined = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const ofPreset = presetNamed(defined['preset'], presets)
  const parsed = generationSettings.safeParse({ ...DEFAULTS, ...generation, ...ofPreset, ...defined })
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'settings'}: ${message}`,
    )
    throw new RequestError('bad_settings', `Invalid generation settings: ${problems.join('; ')}.`)
  }
  const settings = parsed.data
  const { num_return_sequences, num_beams, do_sample } = settings
  if (num_return_sequences > num_beams && (num_beams > 1 || !do_sample)) {
    throw new RequestError(
      'bad_settings',
      `Expected num_return_sequences of at most num_beams but got ${num_return_sequences} with ${num_beams} beams. Set num_beams higher, or num_beams 1 and do_sample true.`,
    )
  }
  return settings
}

function presetNamed(name: unknown, presets: ModelSettings['presets']): Partial<GenerationSettings> {
  if (typeof name !== 'string') return {}
  if (Object.hasOwn(presets, name)) return presets[name]!
  const known = Object.keys(presets)
  const expected = known.length > 0 ? `one of ${known.join(', ')}` : 'none, because the model has no presets'
  throw new RequestError(
    'bad_settings',
    `Expected preset to be ${expected}, but got ${JSON.stringify(name.slice(0, MAX_NAME))}.`,
  )
}
