// What is kept of a prompt spares the next prompt about the same image its shared part, and changes no token.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LANGUAGE } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import type { GenerationSettings } from '../../src/generation-settings.ts'
import { openDecoder } from '../../src/run/decoder.ts'
import { generate } from '../../src/run/generate.ts'
import type { KeptPrompt, LanguageModel, PromptCache, PromptRow } from '../../src/run/language-model.ts'
import { type Model, openLanguageModel, openModel } from '../../src/run/model.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { FIXTURES } from '../fixtures.ts'
import { relativeError } from '../tensors.ts'

/** float32 sums in another order differ by about 1e-6; a wiring mistake by more than 1e-2. */
const SAME = 1e-4

let folder: string
let model: Model
let language: LanguageModel
/** Image embeddings of two images. */
let images: Tensor[]
/** Positions of each row in each run of the graph. */
let read: number[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), folder, { precision: 'fp32' })
  model = await openModel(folder, { threads: 1 })
  const session = model.sessions[LANGUAGE.graph]!
  const counted: typeof session = {
    ...session,
    run(feeds, names) {
      read.push(feeds[LANGUAGE.prefix]!.dims[1]! + feeds[LANGUAGE.input_ids]!.dims[1]!)
      return session.run(feeds, names)
    },
  }
  language = openLanguageModel(model.manifest, { [LANGUAGE.graph]: counted })!
  const { queries, description } = sizes()
  const dims = [1, queries.count, description.width]
  images = [1, 2].map((seed) =>
    Tensor.float32(
      Float32Array.from({ length: dims[1]! * dims[2]! }, (_, i) => Math.sin(seed * i)),
      dims,
    ),
  )
})
afterAll(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

/** The manifest's queries and decoder. */
function sizes() {
  const { queries, language: description } = model.manifest
  if (description.kind !== 'decoder') throw new Error(`Expected a decoder but got ${description.kind}`)
  return { queries, description }
}

interface TestCache extends PromptCache {
  kept?: KeptPrompt
  sets: number
}

function emptyCache(): TestCache {
  const cache: TestCache = {
    sets: 0,
    get: () => cache.kept,
    set(prompt) {
      cache.kept = prompt
      cache.sets++
    },
  }
  return cache
}

const rowOf = (ids: number[], promptCache?: PromptCache, image = 0): PromptRow => ({
  prefix: images[image]!,
  ids,
  promptCache,
})

/** Runs `work` and returns the positions of its runs too. */
async function counting<T>(work: () => Promise<T>): Promise<{ result: T; runs: number[] }> {
  read = []
  const result = await work()
  return { result, runs: read }
}

const LONG = [2, 20, 30, 40, 50, 60]

/** Earlier ids about the image, ids, and how many of these have to be read. */
test.each<[string, number[], number[], number]>([
  ['a history that grows', LONG, [...LONG, 70, 80, 90], 3],
  ['another question', LONG, [2, 20, 30, 41, 51], 2],
  ['the same prompt', LONG, LONG, 1],
  ['the beginning of a longer prompt', LONG, [2, 20, 30], 1],
  ['one id after many', LONG, [2], 1],
  ['many ids after one', [2], LONG, 5],
  ['nothing in common but the image', LONG, [3, 20, 30], 3],
])('%s: only the rest is read, with the same logits', async (_, earlier, ids, rest) => {
  const cache = emptyCache()
  await language.prefill([rowOf(earlier, cache)])
  const [alone] = await language.prefill([rowOf(ids)])
  const { result, runs } = await counting(() => language.prefill([rowOf(ids, cache)]))
  expect(runs).toEqual([rest])
  expect(relativeError(result[0]!.logits, alone!.logits)).toBeLessThan(SAME)
  // Steps continue from the same keys and values.
  const [next] = await language.step([result[0]!.state], [77])
  const [nextAlone] = await language.step([alone!.state], [77])
  expect(relativeError(next!.logits, nextAlone!.logits)).toBeLessThan(SAME)
})

test('many prompts about one image, turn by turn and with detours', async () => {
  const cache = emptyCache()
  const turns = [[2], LONG, [2, 20, 31], [2, 20, 31, 41, 51], [2, 20, 31, 41, 52, 62, 72], LONG, [2, 20], [9]]
  const lengths: number[] = []
  for (const ids of turns) {
    const [alone] = await language.prefill([rowOf(ids)])
    const { result, runs } = await counting(() => language.prefill([rowOf(ids, cache)]))
    lengths.push(...runs)
    expect(relativeError(result[0]!.logits, alone!.logits), String(ids)).toBeLessThan(SAME)
  }
  expect(lengths).toEqual([model.manifest.queries.count + 1, 5, 1, 2, 3, 4, 1, 1])
})

test('steps of an answer do not change what is kept', async () => {
  const cache = emptyCache()
  const settings = { max_new_tokens: 40, min_new_tokens: 40, num_beams: 3 }
  await generate(language, [{ prompt: rowOf(LONG, cache), settings }])
  const [kept] = await language.prefill([rowOf([...LONG, 5], cache)])
  const [alone] = await language.prefill([rowOf([...LONG, 5])])
  expect(relativeError(kept!.logits, alone!.logits)).toBeLessThan(SAME)
})

test('a prompt that is kept already is not kept again, and the longer one stays', async () => {
  const cache = emptyCache()
  await language.prefill([rowOf(LONG, cache)])
  await language.prefill([rowOf([2, 20], cache)])
  await language.prefill([rowOf(LONG, cache)])
  expect(cache.sets).toBe(1)
  await language.prefill([rowOf([...LONG, 7], cache)])
  expect(cache.sets).toBe(2)
})

test('the size is that of the keys and values', async () => {
  const { queries, description } = sizes()
  const cache = emptyCache()
  const other = emptyCache()
  // In one run, so the shorter prompt is padded.
  await language.prefill([rowOf(LONG, cache), rowOf([2, 9], other, 1)])
  const { layers, heads, head_size } = description
  const bytesOf = (ids: number) => 2 * layers * (queries.count + ids) * heads * head_size * 4
  expect([cache.kept!.byteLength, other.kept!.byteLength]).toEqual([bytesOf(LONG.length), bytesOf(2)])
})

const SETTINGS: Partial<GenerationSettings>[] = [
  {},
  { num_beams: 4, num_return_sequences: 2 },
  { do_sample: true, seed: 1, temperature: 2 },
  { do_sample: true, seed: 2, num_beams: 3, temperature: 2 },
  { do_sample: true, seed: 3, num_return_sequences: 3 },
  { repetition_penalty: 1.5, no_repeat_ngram_size: 2 },
]

test.each([1, 2, 8])(
  'batches of two images have the same answers with and without, %i rows a run',
  async (rowsPerRun) => {
    const { queries, language: description } = model.manifest
    if (description.kind !== 'decoder') throw new Error(`Expected a decoder but got ${description.kind}`)
    const session = model.sessions[LANGUAGE.graph]!
    const decoder = openDecoder({ session, description, queries: queries.count, rowsPerRun })
    const caches = [emptyCache(), emptyCache()]
    const prompts = [[2], LONG, [2, 20, 31], [2, 20, 31, 41, 51], [...LONG, 7, 8, 9], [2, 20], [5, 6, 7]]
    const seen = new Set<string>()
    for (let batch = 0; batch < 6; batch++) {
      // The second image is first seen in a batch with kept prompts of the first.
      const rows = SETTINGS.map((settings, i) => {
        const image = batch === 0 ? 0 : i % 2
        const ids = prompts[(batch + 2 * i) % prompts.length]!
        return { image, ids, settings: { max_new_tokens: 12, min_new_tokens: 12, ...settings } }
      })
      const withOut = rows.map(({ image, ids, settings }) => ({
        prompt: rowOf(ids, undefined, image),
        settings,
      }))
      const withKept = rows.map(({ image, ids, settings }) => ({
        prompt: rowOf(ids, caches[image], image),
        settings,
      }))
      const answers = await generate(decoder, withOut)
      expect(await generate(decoder, withKept), `batch ${batch}`).toEqual(answers)
      for (const answer of answers) seen.add(String(answer))
    }
    // The rows differ, so equal answers are no accident.
    expect(seen.size).toBeGreaterThan(20)
  },
)
