// A safetensors file of what transformers computed with a checkpoint -> a description of its cases, and their tensors.
//
// Two forms are read. reference/record.py writes many cases into one file and describes them in JSON in its metadata. The
// other form is one picture and one prompt (docs/models.md): any of the tensors in SINGLE, and in the metadata `image`,
// `prompt` and `generation`, the arguments of generate as JSON. It is converted to a description with one case.

import { z } from 'zod'
import { reasonOf } from '../checkpoint/files.ts'
import { readSafetensors, type WholeTensor } from '../checkpoint/safetensors.ts'
import { ArtifactError } from '../errors.ts'
import { SETTING_NAMES } from './generate-arguments.ts'

/** Indices into the description's lists of pictures and prompts. */
const place = z.object({ picture: z.number().int(), prompt: z.number().int() })
const settings = z.record(z.string(), z.unknown())

const description = z.object({
  checkpoint: z.string(),
  /** File names. */
  pictures: z.array(z.string()),
  prompts: z.array(z.string()),
  /** For each prompt, without placeholders and padding; absent if the tokenizer encodes the prompts. */
  input_ids: z.array(z.array(z.number().int())).nullish(),
  settings: z.record(z.string(), settings),
  pad_token_id: z.number().int().nullish(),
  logits: z.array(place),
  token_ids: z.array(place.extend({ settings: z.string() })),
  probs: z.array(place.extend({ settings: z.string() })),
  batches: z.array(z.object({ cases: z.array(place), arguments: settings })),
})

export type Description = z.infer<typeof description>

export interface Reference {
  description: Description
  has(name: string): boolean
  /** @throws ArtifactError `bad_reference` if the file lacks the tensor. */
  floats(name: string): Float32Array
  /** Rows of ids, padded at the end. @throws ArtifactError `bad_reference` if the file lacks the tensor. */
  ids(name: string): number[][]
}

/** @throws ArtifactError `bad_reference`, and the errors of readSafetensors. */
export async function readReference(path: string): Promise<Reference> {
  const { tensors: all, metadata } = await readSafetensors(path)
  const bad = (what: string, cause?: unknown) =>
    new ArtifactError(
      'bad_reference',
      `${path} is not a reference: ${what}. Expected a file of reference/record.py, or one picture and one prompt as docs/models.md describes. Record it again.`,
      { cause },
    )
  let parsed: Description
  let tensors = all
  try {
    const words = z.record(z.string(), z.string()).parse(metadata ?? {})
    if (words['description'] !== undefined) parsed = description.parse(JSON.parse(words['description']))
    else ({ description: parsed, tensors } = fromSingle(all, words))
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

/** Tensors of a file with one picture and one prompt. */
const SINGLE = ['pixel_values', 'vision', 'queries', 'prefix', 'logits', 'token_ids']

function fromSingle(
  tensors: Map<string, WholeTensor>,
  metadata: Record<string, string>,
): { description: Description; tensors: Map<string, WholeTensor> } {
  const { kind = 'generate', image = '', prompt = '', generation = '{}', checkpoint } = metadata
  if (kind !== 'generate') throw new Error(`its kind is "${kind}" and only "generate" is known`)
  if (!SINGLE.some((name) => tensors.has(name))) throw new Error(`it has none of ${SINGLE.join(', ')}`)
  const stray = Object.keys(metadata).filter((name) => SETTING_NAMES.includes(name))
  if (stray.length > 0) throw new Error(`its metadata has ${stray.join(', ')} outside "generation"`)
  const ids = tensors.get('input_ids')
  const used = settings.parse(JSON.parse(generation))
  const only = { picture: 0, prompt: 0 }
  const numbered = new Map(tensors)
  for (const name of ['logits', 'token_ids']) {
    const tensor = tensors.get(name)
    if (tensor) numbered.set(`${name}.0`, tensor)
  }
  return {
    tensors: numbered,
    description: {
      checkpoint: checkpoint ?? 'another checkpoint',
      pictures: [image],
      prompts: [prompt],
      input_ids: ids && rowsOf(ids),
      settings: { recorded: used },
      logits: tensors.has('logits') ? [only] : [],
      // Sampled tokens have no single right answer.
      token_ids:
        tensors.has('token_ids') && used['do_sample'] !== true ? [{ ...only, settings: 'recorded' }] : [],
      probs: [],
      batches: [],
    },
  }
}

function rowsOf({ data, shape }: WholeTensor): number[][] {
  const length = shape.at(-1) ?? 0
  const rows = shape.length > 1 ? shape[0]! : 1
  return Array.from({ length: rows }, (_, i) =>
    Array.from(data.subarray(i * length, (i + 1) * length), Number),
  )
}
