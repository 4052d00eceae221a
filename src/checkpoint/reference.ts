// What transformers computed with a checkpoint -> numbers to compare with.
//
// Two forms are read. reference/record.py writes many cases into one file, described by JSON in its metadata. The plain
// form is one case, or one for each picture: `pixel_values`, `vision`, `queries`, `prefix`, `logits`, `token_ids` (those
// that were recorded), and in the metadata `prompt` and the settings of generate, together as JSON or each under its
// name. Here the plain form becomes a description too, so that what compares knows only one.

import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { reasonOf } from './files.ts'
import { readSafetensors, type WholeTensor } from './safetensors.ts'

/** Which picture and which prompt, by their places in the description's lists. */
const place = z.object({ picture: z.number().int(), prompt: z.number().int() })
const settings = z.record(z.string(), z.unknown())

const description = z.object({
  checkpoint: z.string(),
  versions: z.record(z.string(), z.string()),
  /** Names of files. */
  pictures: z.array(z.string()),
  prompts: z.array(z.string()),
  /** Of each prompt, without placeholders; absent where the tokenizer is to make them. */
  input_ids: z.array(z.array(z.number().int())).optional(),
  settings: z.record(z.string(), settings),
  pad_token_id: z.number().int().optional(),
  logits: z.array(place),
  token_ids: z.array(place.extend({ settings: z.string() })),
  probs: z.array(place.extend({ settings: z.string() })),
  batches: z.array(z.object({ cases: z.array(place), arguments: settings })),
})

export type Description = z.infer<typeof description>

export interface Reference {
  description: Description
  has(name: string): boolean
  /** Throws ArtifactError `bad_reference` where the file lacks a tensor. */
  floats(name: string): Float32Array
  /** Rows of ids, the shorter ones padded at their ends. */
  ids(name: string): number[][]
}

/** Throws ArtifactError `bad_reference`, or what readSafetensors throws. */
export async function readReference(path: string): Promise<Reference> {
  const { tensors: all, metadata } = await readSafetensors(path)
  const bad = (what: string, cause?: unknown) =>
    new ArtifactError(
      'bad_reference',
      `Expected ${path} as reference/record.py writes it, or its plain form, but ${what}. Record it again.`,
      { cause },
    )
  let parsed: Description
  let tensors = all
  try {
    const words = z.record(z.string(), z.string()).parse(metadata ?? {})
    if (words['description'] !== undefined) parsed = description.parse(JSON.parse(words['description']))
    else ({ description: parsed, tensors } = fromPlain(all, words))
  } catch (cause) {
    throw bad(`its description is wrong: ${reasonOf(cause)}`, cause)
  }
  const find = (name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) throw bad(`it has no ${name}`)
    return tensor
  }
  return {
    description: parsed,
    has: (name) => tensors.has(name),
    floats(name) {
      const { data } = find(name)
      if (!(data instanceof Float32Array)) throw bad(`${name} holds no floats`)
      return data
    },
    ids(name) {
      const tensor = find(name)
      if (tensor.data instanceof Float32Array || tensor.shape.length > 2)
        throw bad(`${name} holds no rows of ids`)
      return rowsOf(tensor)
    },
  }
}

/** Every name the tensors of the plain form may have. */
const PLAIN = ['pixel_values', 'vision', 'queries', 'prefix', 'logits', 'token_ids', 'input_ids']
/** Dimensions of what is stacked by picture, the picture included. */
const RANKS = { pixel_values: 4, vision: 3, queries: 3, prefix: 3 }
/** Metadata under which all settings may stand together. */
const SETTINGS = ['settings', 'generation', 'generation_config', 'generate_kwargs', 'kwargs']
/** Arguments of generate that change no token, or that the checkpoint decides. */
const WITHOUT_EFFECT = [
  'use_cache',
  'return_dict_in_generate',
  'output_scores',
  'output_logits',
  'output_attentions',
  'output_hidden_states',
  'pad_token_id',
  'bos_token_id',
  'trust_remote_code',
]
/** Settings that may stand in the metadata by themselves; anything else there is taken for a remark. */
const SINGLE = [
  'num_beams',
  'length_penalty',
  'early_stopping',
  'max_new_tokens',
  'min_new_tokens',
  'min_length',
  'no_repeat_ngram_size',
  'repetition_penalty',
  'do_sample',
  'temperature',
  'top_k',
  'top_p',
  'seed',
  'num_return_sequences',
  'eos_token_id',
]

function fromPlain(
  tensors: Map<string, WholeTensor>,
  words: Record<string, string>,
): { description: Description; tensors: Map<string, WholeTensor> } {
  const recorded = PLAIN.filter((name) => tensors.has(name) && name !== 'input_ids')
  if (recorded.length === 0) throw new Error(`it has none of ${PLAIN.join(', ')}`)
  const together = SETTINGS.flatMap((name) =>
    words[name] === undefined ? [] : [settings.parse(JSON.parse(words[name]))],
  )
  const alone = SINGLE.flatMap((name) => (words[name] === undefined ? [] : [[name, asJson(words[name])]]))
  const given = Object.entries({ ...Object.assign({}, ...together), ...Object.fromEntries(alone) })
  const used = given.filter(([name, value]) => value !== null && !WITHOUT_EFFECT.includes(name))

  const pictures = z
    .union([z.string().transform((name) => [name]), z.array(z.string())])
    .parse(asJson(words['pictures'] ?? words['picture'] ?? words['image'] ?? '[]'))
  const stacked = Object.entries(RANKS)
    .map(([name, rank]) => ({ shape: tensors.get(name)?.shape, rank }))
    .find(({ shape }) => shape !== undefined)
  const count = stacked?.shape?.length === stacked?.rank ? (stacked?.shape?.[0] ?? pictures.length) || 1 : 1
  const prompts = z
    .array(z.string())
    .parse(words['prompts'] ? JSON.parse(words['prompts']) : [words['prompt'] ?? ''])
  if (prompts.length !== 1 && prompts.length !== count) {
    throw new Error(`it has ${prompts.length} prompts for ${count} pictures`)
  }
  const cases = Array.from({ length: count }, (_, i) => ({
    picture: i,
    prompt: prompts.length === 1 ? 0 : i,
  }))

  const numbered = new Map(tensors)
  for (const name of ['logits', 'token_ids']) {
    const tensor = tensors.get(name)
    if (!tensor) continue
    for (const [i, part] of divide(tensor, count).entries()) numbered.set(`${name}.${i}`, part)
  }
  const ids = tensors.get('input_ids')
  const sampled = used.some(([name, value]) => name === 'do_sample' && value === true)
  return {
    tensors: numbered,
    description: {
      checkpoint: words['checkpoint'] ?? words['model'] ?? 'another checkpoint',
      versions: {},
      pictures: Array.from({ length: count }, (_, i) => pictures[i] ?? ''),
      prompts,
      input_ids: ids && rowsOf(ids),
      settings: { plain: Object.fromEntries(used) },
      pad_token_id: words['pad_token_id'] === undefined ? undefined : Number(words['pad_token_id']),
      logits: tensors.has('logits') ? cases : [],
      // What was drawn at random has no one truth.
      token_ids:
        tensors.has('token_ids') && !sampled ? cases.map((one) => ({ ...one, settings: 'plain' })) : [],
      probs: [],
      batches: [],
    },
  }
}

/** Equal parts along the first dimension; one row of ids, or one picture's logits, may come without it. */
function divide({ data, shape }: WholeTensor, count: number): WholeTensor[] {
  const [rows = 1, ...rest] = shape.length === 1 ? [1, ...shape] : shape
  if (rows % count !== 0) throw new Error(`${shape.join(' x ')} can't be divided among ${count} pictures`)
  const size = data.length / count
  return Array.from({ length: count }, (_, i) => ({
    shape: [rows / count, ...rest],
    data: data.slice(i * size, (i + 1) * size),
  }))
}

function rowsOf({ data, shape }: WholeTensor): number[][] {
  const length = shape.at(-1) ?? 0
  const rows = shape.length > 1 ? shape[0]! : 1
  return Array.from({ length: rows }, (_, i) =>
    Array.from(data.subarray(i * length, (i + 1) * length), Number),
  )
}

/** JSON where it is JSON, else the text: `3`, `true`, `[2, 7]`, `never`. Python writes True and None. */
function asJson(text: string): unknown {
  const json = text.replace(/^(True|False)$/, (word) => word.toLowerCase()).replace(/^None$/, 'null')
  try {
    return JSON.parse(json)
  } catch {
    return text
  }
}
