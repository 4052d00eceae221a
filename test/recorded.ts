// What transformers recorded for a fixture checkpoint (test/fixtures/references/<checkpoint>) -> cases of one picture and one
// prompt, with the tensors of every stage.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readSafetensors } from '../src/checkpoint/safetensors.ts'
import { FIXTURES } from './fixtures.ts'

export interface RecordedCase {
  /** File name in the folder of references. */
  picture: string
  prompt: string
  /** Ids of the prompt. */
  ids: number[]
  /** Ids that an encoder-decoder's decoder read. */
  decoderIds?: number[]
  /** pixel_values, vision, queries, prefix and logits of the case, and encoder where there is one. */
  tensors: Map<string, Float32Array>
  /** Arguments of generate(), and the ids that it generated. */
  generation: Record<string, unknown>
  tokenIds: number[]
}

const STAGES = ['pixel_values', 'vision', 'queries', 'prefix', 'logits']

export async function recordedCases(checkpoint: string): Promise<RecordedCase[]> {
  const folder = join(FIXTURES, 'references', checkpoint)
  const files = (await readdir(folder)).filter((file) => file.endsWith('.safetensors'))
  const cases = await Promise.all(
    files.map(async (file): Promise<RecordedCase[]> => {
      const { tensors, metadata } = await readSafetensors(join(folder, file))
      const { image, prompt, generation } = Object(metadata) as Record<string, string | undefined>
      if (image === undefined || !STAGES.every((stage) => tensors.has(stage))) return []
      const numbers = (name: string) => [...tensors.get(name)!.data].map(Number)
      const stages = tensors.has('encoder') ? [...STAGES, 'encoder'] : STAGES
      return [
        {
          picture: image,
          prompt: prompt ?? '',
          ids: numbers('input_ids'),
          decoderIds: tensors.has('decoder_ids') ? numbers('decoder_ids') : undefined,
          tensors: new Map(stages.map((stage) => [stage, tensors.get(stage)!.data as Float32Array])),
          generation: JSON.parse(generation ?? '{}'),
          tokenIds: numbers('token_ids'),
        },
      ]
    }),
  )
  return cases.flat()
}
