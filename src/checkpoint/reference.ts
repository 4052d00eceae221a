// What transformers computed with a checkpoint, as reference/record.py wrote it -> numbers to compare with.

import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { reasonOf } from './files.ts'
import { readSafetensors } from './safetensors.ts'

/** Which picture and which prompt, by their places in the description's lists. */
const place = z.object({ picture: z.number().int(), prompt: z.number().int() })
const settings = z.record(z.string(), z.unknown())

const description = z.object({
  checkpoint: z.string(),
  versions: z.record(z.string(), z.string()),
  pictures: z.array(z.string()),
  prompts: z.array(z.string()),
  input_ids: z.array(z.array(z.number().int())),
  settings: z.record(z.string(), settings),
  pad_token_id: z.number().int(),
  logits: z.array(place),
  token_ids: z.array(place.extend({ settings: z.string() })),
  probs: z.array(place.extend({ settings: z.string() })),
  batches: z.array(z.object({ cases: z.array(place), arguments: settings })),
})

export interface Reference {
  description: z.infer<typeof description>
  /** Throws ArtifactError `bad_reference` where the file lacks a tensor. */
  floats(name: string): Float32Array
  /** Rows of ids, the shorter ones padded at their ends. */
  ids(name: string): number[][]
}

/** Throws ArtifactError `bad_reference`, or what readSafetensors throws. */
export async function readReference(path: string): Promise<Reference> {
  const { tensors, metadata } = await readSafetensors(path)
  const bad = (what: string, cause?: unknown) =>
    new ArtifactError(
      'bad_reference',
      `Expected ${path} as reference/record.py writes it but ${what}. Record it again.`,
      { cause },
    )
  let parsed: z.infer<typeof description>
  try {
    parsed = description.parse(JSON.parse(z.object({ description: z.string() }).parse(metadata).description))
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
    floats(name) {
      const { data } = find(name)
      if (!(data instanceof Float32Array)) throw bad(`${name} holds no floats`)
      return data
    },
    ids(name) {
      const { data, shape } = find(name)
      const [rows = 0, length = 0] = shape
      if (data instanceof Float32Array || shape.length !== 2) throw bad(`${name} holds no rows of ids`)
      return Array.from({ length: rows }, (_, i) =>
        Array.from(data.subarray(i * length, (i + 1) * length), Number),
      )
    },
  }
}
