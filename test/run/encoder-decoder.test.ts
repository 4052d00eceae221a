// The encoder-decoder's runs: the encoder once for each prompt, one set of its keys and values for all beams of a prompt.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { CROSS, ENCODER, type EncoderDecoderDescription, LANGUAGE } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { completeSettings } from '../../src/generation-settings.ts'
import { openEncoderDecoder } from '../../src/run/encoder-decoder.ts'
import { Generation, generate } from '../../src/run/generate.ts'
import type { LanguageModel, PromptRow } from '../../src/run/language-model.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import type { Session } from '../../src/run/session.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { FIXTURES } from '../fixtures.ts'

let folder: string
let model: Model
let language: LanguageModel
let description: EncoderDecoderDescription
/** Dims of the inputs of each run, by graph. */
const runs: Record<string, Record<string, readonly number[]>[]> = {}

function watched(graph: string): Session {
  const session = model.sessions[graph]!
  return {
    ...session,
    run(feeds, names) {
      runs[graph]!.push(Object.fromEntries(Object.entries(feeds).map(([name, { dims }]) => [name, dims])))
      return session.run(feeds, names)
    },
  }
}

const row = (seed: number, ...ids: number[]): PromptRow => {
  const { count } = model.manifest.queries
  const values = Float32Array.from({ length: count * description.width }, (_, i) => Math.sin(seed + i))
  return { prefix: Tensor.float32(values, [1, count, description.width]), ids }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/t5-gated'), folder, { precision: 'fp32', trial: false })
  model = await openModel(folder, { threads: 1 })
  description = model.manifest.language as EncoderDecoderDescription
  language = openEncoderDecoder({
    encoder: watched(ENCODER.graph),
    decoder: watched(LANGUAGE.graph),
    description,
    queries: model.manifest.queries.count,
  })
})
beforeEach(() => {
  runs[ENCODER.graph] = []
  runs[LANGUAGE.graph] = []
})
afterAll(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

test('the encoder runs once for a question, however many tokens and beams follow', async () => {
  const settings = { num_beams: 4, num_return_sequences: 3, max_new_tokens: 6, min_new_tokens: 6 }
  await generate(language, [{ prompt: row(1, 30, 31, 1), settings }])
  expect(runs[ENCODER.graph]).toHaveLength(1)
  expect(runs[LANGUAGE.graph]).toHaveLength(6)
  for (const [step, dims] of runs[LANGUAGE.graph]!.entries()) {
    expect(dims[LANGUAGE.input_ids]).toEqual([step === 0 ? 1 : 4, 1])
    // One set for all beams; of the decoder's own positions, one for each.
    expect(dims[CROSS.key(0)]![0]).toBe(1)
    if (step > 0) expect(dims[LANGUAGE.pastKey(0)]![0]).toBe(4)
  }
})

test('prompts that are complete take no part in later runs, and those that join do', async () => {
  const generation = new Generation(language)
  const join = (prompt: PromptRow, max_new_tokens: number, num_beams = 1) => ({
    prompt,
    settings: completeSettings({ max_new_tokens, num_beams, min_new_tokens: max_new_tokens }),
    onDone() {},
    onError(error: unknown) {
      throw error
    },
  })
  await generation.join([join(row(1, 30, 1), 2), join(row(2, 30, 31, 32, 33, 1), 4, 3)])
  await generation.step()
  await generation.step()
  await generation.join([join(row(3, 1), 2)])
  await generation.step()
  const dims = runs[LANGUAGE.graph]!.map((one) => [one[LANGUAGE.input_ids]![0], one[CROSS.key(0)]![0]])
  // Rows and prompts: both begin; a row and three beams; the beams alone; the newcomer begins; beams and newcomer.
  expect(dims).toEqual([
    [2, 2],
    [4, 2],
    [3, 1],
    [1, 1],
    [4, 2],
  ])
})

test('prepacked graphs give the same tokens', async () => {
  const failures: unknown[] = []
  const prepack = {
    folder: join(folder, 'prepacked'),
    fromBytes: 0,
    onFailed: (why: unknown) => failures.push(why),
  }
  const prepacked = await openModel(folder, { threads: 1, prepack })
  try {
    expect(failures).toEqual([])
    const rows = [{ prompt: row(5, 30, 31, 1), settings: { num_beams: 3, max_new_tokens: 8 } }]
    expect(await generate(prepacked.language!, rows)).toEqual(await generate(language, rows))
  } finally {
    await prepacked.close()
  }
})

test('the decoder counts its start token as generate() does, and a prompt takes no room from an answer', () => {
  expect(language.context([5, 6, 7], [9, 8])).toEqual({ ids: [0, 9, 8], length: 3, newTokens: 2 })
  const most = description.positions! - model.manifest.queries.count
  expect(language.room(most)).toBe(Infinity)
  expect(language.room(most + 1)).toBe(0)
  expect(language.start([])).toEqual([1])
})

test('the decoder reads several ids at once as it reads them one by one', async () => {
  const prompt = row(4, 30, 31, 1)
  const ids = [0, 5, 9, 9, 4]
  const together = await language.allLogits(prompt, ids)
  let [read] = await language.prefill([prompt])
  for (const [i, logits] of together.entries()) {
    const errors = logits.map((one, id) => Math.abs(one - read!.logits[id]!))
    expect(Math.max(...errors)).toBeLessThan(1e-4)
    if (i + 1 < ids.length) [read] = await language.step([read!.state], [ids[i + 1]!])
  }
})
