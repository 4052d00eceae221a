// Fields of config.json that several architectures share, as schemas, and one error for all that is wrong in a file.
//
// transformers omits values that equal its defaults, so the defaults in this folder are part of the format: those of
// transformers 5.18. Names are those of the file.

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { ArtifactError } from '../errors.ts'

export const size = z.number().int().positive()
/** More than any transformer has. A typing error would otherwise build layers until memory runs out. */
const MAX_LAYERS = 1000
export const layers = size.max(MAX_LAYERS)
/** A side, or [height, width]. */
export const sides = z
  .union([size, z.tuple([size, size])])
  .transform((s): [number, number] => (typeof s === 'number' ? [s, s] : s))

/** The activations that model/ builds, by transformers' names (ACT2FN). */
export const ACTIVATIONS = [
  'gelu',
  'gelu_python',
  'gelu_10',
  'relu',
  'relu2',
  'relu6',
  'leaky_relu',
  'quick_gelu',
  'gelu_new',
  'gelu_pytorch_tanh',
  'gelu_python_tanh',
  'gelu_accurate',
  'gelu_fast',
  'silu',
  'swish',
  'hardswish',
  'mish',
  'sigmoid',
  'tanh',
  'linear',
] as const
export const activation = z.enum(ACTIVATIONS)
export type Activation = z.infer<typeof activation>

export const tokenId = z.number().int().nonnegative()
/** null: answers have no end token. */
export const eosTokenId = z.union([tokenId, z.array(tokenId).min(1)]).nullable()

/** Adds a problem to the error about a file. */
export type Reject = (isWrong: boolean, message: string) => void
export function rejecting(context: { addIssue(message: string): void }): Reject {
  return (isWrong, message) => {
    if (isWrong) context.addIssue(message)
  }
}

/** `part`: the name of the part of config.json, without `_config`. */
export function rejectHeads(
  part: string,
  sizes: { hidden_size: number; num_attention_heads: number },
  reject: Reject,
): void {
  const { hidden_size, num_attention_heads: heads } = sizes
  const words = `${part}_config.hidden_size ${hidden_size} is not a multiple of num_attention_heads ${heads}`
  reject(hidden_size % heads !== 0, words)
}

/** `ids` by their names in config.json. */
export function rejectTokenIds(
  ids: Readonly<Record<string, number | number[] | null>>,
  vocab_size: number,
  reject: Reject,
): void {
  for (const [name, id] of Object.entries(ids)) {
    const isWrong = [id].flat().some((one) => one !== null && one >= vocab_size)
    reject(isWrong, `${name} ${id} is not below vocab_size ${vocab_size}`)
  }
}

/** @throws ArtifactError `bad_config`, which names every wrong key. `canBuild` is a sentence about what can be built. */
export function parsed<T extends z.ZodType>(schema: T, json: unknown, canBuild: string): z.output<T> {
  const { success, data, error } = schema.safeParse(json)
  if (success) return data
  throw new ArtifactError(
    'bad_config',
    `config.json has values that Glimpse can't build: ${reasonOf(error)}. Correct the file or download the checkpoint again. ${canBuild}`,
  )
}
