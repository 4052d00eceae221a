// How tokens are chosen: transformers' names, meanings and defaults (GenerationConfig of 5.18), checked once.

import { z } from 'zod'
import { RequestError } from '../errors.ts'

const positive = z.number().int().min(1)
const id = z.number().int().nonnegative()
/** Models have one or two; each step looks through all of them. */
const MAX_EOS_TOKENS = 64
/**
 * transformers takes any positive number. Past these, which nobody needs, float32 turns scores into infinities or
 * beams fall below the -1e9 that stands for no answer, and what comes out is nobody's choice.
 */
const TEMPERATURE = { min: 1e-4, max: 1e6 }
const REPETITION_PENALTY = { min: 0.01, max: 100 }
const LENGTH_PENALTY = { min: -4, max: 50 }

const inRange = ({ min, max }: { min: number; max: number }) => z.number().min(min).max(max)

/** Far above what is of use; each beam holds its own keys and values. */
const MAX_BEAMS = 64

export const generationSettings = z.strictObject({
  num_beams: positive.max(MAX_BEAMS).describe('beams kept side by side; 1 is greedy or sampling'),
  length_penalty: inRange(LENGTH_PENALTY).describe(
    'beam score = sum of log probabilities / length ** length_penalty',
  ),
  early_stopping: z
    .union([z.boolean(), z.literal('never')])
    .describe(
      'beams stop: true, once num_beams answers are finished; false, when a better one is unlikely; never, when none is possible',
    ),
  max_new_tokens: positive.max(2048).describe('tokens generated at most'),
  min_new_tokens: z
    .number()
    .int()
    .min(0)
    .nullable()
    .describe('end tokens are forbidden before this many; takes precedence over min_length'),
  min_length: z
    .number()
    .int()
    .min(0)
    .describe("end tokens are forbidden before this many, the picture's queries and the prompt included"),
  eos_token_id: z
    .union([id, z.array(id).min(1).max(MAX_EOS_TOKENS)])
    .nullable()
    .describe("ids that end an answer, in place of the model's"),
  no_repeat_ngram_size: z.number().int().min(0).describe('no run of this many tokens twice; 0 is off'),
  repetition_penalty: inRange(REPETITION_PENALTY).describe('above 1 makes tokens already there less likely'),
  do_sample: z.boolean().describe('draw tokens at random instead of taking the likeliest'),
  temperature: inRange(TEMPERATURE).describe('below 1 sharpens, above 1 flattens; when sampling'),
  top_k: z.number().int().min(0).describe('draw among the k likeliest; 0 is off'),
  top_p: z.number().min(0).max(1).describe('draw among the likeliest that together reach p'),
  seed: z.number().int().min(0).max(0xffffffff).describe('the same seed draws the same tokens'),
  num_return_sequences: positive.max(MAX_BEAMS).describe('answers returned; with beams the best first'),
})

export type GenerationSettings = z.infer<typeof generationSettings>

/** transformers', and a seed so that a run can be repeated. */
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
  do_sample: false,
  temperature: 1,
  top_k: 50,
  top_p: 1,
  seed: 0,
  num_return_sequences: 1,
}

/** What was asked for, over the defaults. Throws RequestError `bad_settings`. */
export function completeSettings(asked: Partial<GenerationSettings>): GenerationSettings {
  const given = Object.entries(asked).filter(([, value]) => value !== undefined)
  const parsed = generationSettings.safeParse({ ...DEFAULTS, ...Object.fromEntries(given) })
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      (issue) => `${issue.path.join('.') || 'settings'}: ${issue.message}`,
    )
    throw new RequestError(
      'bad_settings',
      `Expected generation settings as transformers takes them but: ${problems.join('; ')}.`,
    )
  }
  const settings = parsed.data
  const { num_return_sequences, num_beams, do_sample } = settings
  if (num_return_sequences > 1 && !do_sample && num_return_sequences > num_beams) {
    throw new RequestError(
      'bad_settings',
      `Expected num_return_sequences <= num_beams, or do_sample, but got ${num_return_sequences} with ${num_beams} beams. Greedy search has one answer.`,
    )
  }
  if (num_beams > 1 && num_return_sequences > num_beams) {
    throw new RequestError(
      'bad_settings',
      `Expected num_return_sequences <= num_beams but got ${num_return_sequences} with ${num_beams} beams.`,
    )
  }
  return settings
}
