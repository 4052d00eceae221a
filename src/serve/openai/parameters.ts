// Parameters of the chat completions API -> generation settings.
//
// A parameter that this server does not have is an error only where its value would change the answer.

import { z } from 'zod'
import { RequestError } from '../../errors.ts'
import { type GenerationSettings, generationSettings } from '../../generation-settings.ts'
import { quote } from '../fields.ts'
import { messagesSchema } from './conversation.ts'

/** The limit of `n` in OpenAI's reference is 128, that of beams and returned sequences here is 64. */
const MAX_CHOICES = 64
const MAX_STOPS = 4

const optional = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined)

/** The parameters that are read. transformers' generation settings are taken by their own names too, as vLLM does. */
export const parametersSchema = z.looseObject({
  messages: messagesSchema,
  model: optional(z.string()),
  stream: optional(z.boolean()),
  stream_options: optional(z.looseObject({ include_usage: optional(z.boolean()) })),
  n: optional(z.number().int().min(1).max(MAX_CHOICES)),
  max_tokens: optional(z.number().int().min(1)),
  max_completion_tokens: optional(z.number().int().min(1)),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().min(0).max(1)),
  seed: optional(z.number().int()),
  stop: optional(z.union([z.string(), z.array(z.string().min(1)).max(MAX_STOPS)])),
})

export type Parameters = z.infer<typeof parametersSchema>

/** Values of these do not change an answer. */
const WITHOUT_EFFECT = new Set(
  (
    'user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention prediction ' +
    'parallel_tool_calls verbosity reasoning_effort'
  ).split(' '),
)
/** Values with which a parameter has no effect, besides null, 0, false, '', [] and {}. */
const NEUTRAL: Record<string, (value: unknown) => boolean> = {
  response_format: (value) => (value as { type?: unknown }).type === 'text',
  modalities: (value) => JSON.stringify(value) === '["text"]',
  tool_choice: (value) => value === 'none' || value === 'auto',
  function_call: (value) => value === 'none' || value === 'auto',
  top_logprobs: () => false,
  best_of: (value) => value === 1,
}
const SETTINGS = generationSettings.shape

/** @throws RequestError `bad_field` with the parameters that would change the answer */
export function checkUnknown(parameters: Parameters): void {
  const known = { ...parametersSchema.shape, ...SETTINGS }
  const refused = Object.entries(parameters).filter(([name, value]) => {
    if (Object.hasOwn(known, name) || WITHOUT_EFFECT.has(name) || isEmpty(value)) return false
    return !NEUTRAL[name]?.(value)
  })
  if (refused.length === 0) return
  const names = refused
    .slice(0, 5)
    .map(([name]) => quote(name))
    .join(', ')
  throw new RequestError(
    'bad_field',
    `This server cannot do ${names}. Leave it out. Known parameters: ${Object.keys(known).join(', ')}.`,
  )
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0
  return value === null || value === 0 || value === false || value === ''
}

/**
 * The generation settings that the client asks for. Without `temperature` and `top_p` they are the model's own, which are
 * greedy or with beams; several choices are sampled, because greedy search has one answer only.
 * @param seed of sampling, when the client gives none
 */
export function settingsOf(parameters: Parameters, seed: () => number): Partial<GenerationSettings> {
  const { n = 1, temperature, top_p } = parameters
  const own = Object.fromEntries(
    Object.entries(parameters).filter(([name, value]) => Object.hasOwn(SETTINGS, name) && value !== null),
  ) as Partial<GenerationSettings>
  const maximum = parameters.max_completion_tokens ?? parameters.max_tokens
  const settings: Partial<GenerationSettings> = { ...own }
  delete settings.temperature
  if (maximum !== undefined) settings.max_new_tokens = Math.min(maximum, MAX_NEW_TOKENS)
  const isGreedy = temperature === 0 || top_p === 0
  const hasBeams = (own.num_beams ?? 1) >= n
  const isSampled =
    own.do_sample ?? (!isGreedy && (temperature !== undefined || (top_p ?? 1) < 1 || !hasBeams))
  if (isGreedy)
    return { ...settings, num_beams: own.num_beams ?? 1, do_sample: false, top_p: undefined, seed: undefined }
  if (!isSampled) return { ...settings, num_return_sequences: own.num_return_sequences ?? n, seed: undefined }
  return {
    ...settings,
    do_sample: true,
    num_beams: own.num_beams ?? 1,
    temperature: Math.max(temperature ?? 1, LOWEST_TEMPERATURE),
    num_return_sequences: own.num_return_sequences ?? n,
    // Seeds of other servers may be negative.
    seed: parameters.seed === undefined ? seed() : parameters.seed >>> 0,
  }
}

const MAX_NEW_TOKENS = SETTINGS.max_new_tokens.maxValue!
const LOWEST_TEMPERATURE = SETTINGS.temperature.minValue!
