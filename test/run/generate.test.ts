// Generation: sampled tokens follow the model's probabilities, and suppressed tokens are never generated.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { completeSettings, type GenerationSettings } from '../../src/generation-settings.ts'
import { openDecoder } from '../../src/run/decoder.ts'
import { generate } from '../../src/run/generate.ts'
import type { Context, LanguageModel, PromptRow } from '../../src/run/language-model.ts'
import { processorsFor, softmax } from '../../src/run/logits-processors.ts'
import { type Model, openLanguageModel, openModel } from '../../src/run/model.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { FIXTURES } from '../fixtures.ts'

let folder: string
let model: Model
let language: LanguageModel
let row: PromptRow
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), folder, { precision: 'fp32' })
  model = await openModel(folder, { threads: 1 })
  language = model.language!
  const [count, width] = [model.manifest.queries.count, decoder().width]
  const prefix = Float32Array.from({ length: count * width }, (_, i) => Math.sin(i))
  row = { prefix: Tensor.float32(prefix, [1, count, width]), ids: [2, 20, 30] }
})
afterAll(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

/** The manifest's description of the language model. */
function decoder() {
  const { language } = model.manifest
  if (language.kind !== 'decoder') throw new Error(`Expected a decoder but got ${language.kind}`)
  return language
}

const run = async (settings: object, suppressTokens: number[] = []) =>
  (await generate(language, [{ prompt: row, settings }], { suppressTokens }))[0]!

describe('sampling', () => {
  const asked = { do_sample: true, top_k: 3, temperature: 1.5, max_new_tokens: 2, repetition_penalty: 1.3 }

  /** Probability of every pair of tokens, from the model's logits and the processors. */
  async function pairProbabilities(): Promise<Map<string, number>> {
    const settings = completeSettings(asked)
    const { eosTokenIds } = language
    const processors = processorsFor(settings, eosTokenIds)
    const probabilities = (logits: Float32Array, context: Context) => {
      const scores = Float32Array.from(logits)
      for (const process of processors) process(scores, context)
      return [...softmax(scores).entries()].filter(([, probability]) => probability > 0)
    }
    const pairs = new Map<string, number>()
    const [read] = await language.prefill([row])
    for (const [first, probability] of probabilities(read!.logits, language.context(row.ids, []))) {
      if (eosTokenIds.includes(first)) {
        pairs.set(String(first), probability)
        continue
      }
      const [again] = await language.prefill([row])
      const [next] = await language.step([again!.state], [first])
      for (const [second, after] of probabilities(next!.logits, language.context(row.ids, [first]))) {
        pairs.set(`${first},${second}`, probability * after)
      }
    }
    return pairs
  }

  test('pairs of tokens are as frequent as their probabilities', async () => {
    const probabilities = await pairProbabilities()
    const counts = new Map<string, number>()
    const seeds = 150
    for (let seed = 0; seed < seeds; seed++) {
      for (const ids of await run({ ...asked, seed, num_return_sequences: 16 })) {
        counts.set(ids.join(), (counts.get(ids.join()) ?? 0) + 1)
      }
    }
    const total = 16 * seeds
    expect([...counts.keys()].filter((pair) => !probabilities.has(pair))).toEqual([])
    const square = [...probabilities].reduce(
      (sum, [pair, probability]) =>
        sum + ((counts.get(pair) ?? 0) - total * probability) ** 2 / (total * probability),
      0,
    )
    // With 8 degrees of freedom exceeded once in 1,000 fair runs; the seeds are fixed, so the result is the same in every run.
    expect(probabilities.size).toBe(9)
    expect(square).toBeLessThan(26.1)
  })

  test('a seed gives the same tokens again, another seed gives others', async () => {
    const long = { ...asked, max_new_tokens: 12, min_new_tokens: 12 }
    expect(await run({ ...long, seed: 5 })).toEqual(await run({ ...long, seed: 5 }))
    expect(await run({ ...long, seed: 5 })).not.toEqual(await run({ ...long, seed: 6 }))
  })
})

describe('suppressed ids', () => {
  test.each([{}, { num_beams: 4, num_return_sequences: 4 }, { do_sample: true, top_k: 0, temperature: 3 }])(
    'are in no answer: %j',
    async (asked) => {
      const settings = { ...asked, max_new_tokens: 12 }
      const usual = [...new Set((await run(settings)).flat())]
      const without = (await run(settings, usual)).flat()
      expect(without.filter((id) => usual.includes(id))).toEqual([])
      expect(without.length).toBeGreaterThan(0)
    },
  )

  test.each([{}, { num_beams: 3 }, { do_sample: true }, { num_beams: 3, do_sample: true }])(
    'are not chosen even if no other id is left: %j',
    async (asked) => {
      const rest = Array.from({ length: language.vocabulary }, (_, id) => id)
      const others = rest.filter((id) => ![40, 41, 42].includes(id))
      const settings = { ...asked, no_repeat_ngram_size: 1 }
      expect((await run({ ...settings, max_new_tokens: 3 }, others)).flat().sort()).toEqual([40, 41, 42])
      await expect(run({ ...settings, max_new_tokens: 4 }, others)).rejects.toMatchObject({
        code: 'bad_settings',
        message: expect.stringContaining('no_repeat_ngram_size'),
      })
    },
  )

  test('change nothing if they would not be chosen', async () => {
    const usual = await run({ max_new_tokens: 12 })
    const others = Array.from({ length: 300 }, (_, id) => id).filter((id) => !usual.flat().includes(id))
    expect(await run({ max_new_tokens: 12 }, others)).toEqual(usual)
  })
})

describe('EOS tokens', () => {
  test("of the settings replace the model's", async () => {
    const [usual] = await run({ max_new_tokens: 8, min_new_tokens: 8 })
    const at = usual!.findIndex((id, i) => i > 0 && usual!.indexOf(id) === i)
    const end = usual![at]!
    const [single] = await run({ max_new_tokens: 8, eos_token_id: end })
    expect(single).toEqual(usual!.slice(0, at + 1))
    expect((await run({ max_new_tokens: 8, eos_token_id: [299, end] }))[0]).toEqual(single)
  })

  test('are forbidden until the row has min_length positions, with image and prompt', async () => {
    const [first] = await run({ max_new_tokens: 1 })
    const end = first![0]!
    const before = model.manifest.queries.count + row.ids.length
    const length = async (asked: object) =>
      (await run({ max_new_tokens: 6, eos_token_id: end, ...asked }))[0]!.length
    expect(await length({})).toBe(1)
    expect(await length({ min_length: before })).toBe(1)
    expect(await length({ min_length: before + 1 })).toBeGreaterThan(1)
    // transformers: min_new_tokens, even of 0, takes precedence.
    expect(await length({ min_length: before + 1, min_new_tokens: 0 })).toBe(1)
  })
})

test.each([
  [{ eos_token_id: [] }, 'eos_token_id'],
  [{ eos_token_id: -1 }, 'eos_token_id'],
  [{ min_length: 1.5 }, 'min_length'],
  [{ num_beams: 65 }, 'num_beams'],
  [{ num_return_sequences: 2 }, 'num_return_sequences'],
  [{ num_beams: 3, num_return_sequences: 4, do_sample: true }, 'num_return_sequences'],
  [{ temperature: 0 }, 'temperature'],
  [{ temperature: 1e-320 }, 'temperature'],
  [{ temperature: 1e300 }, 'temperature'],
  [{ repetition_penalty: 1e-300 }, 'repetition_penalty'],
  [{ repetition_penalty: 1e300 }, 'repetition_penalty'],
  [{ length_penalty: -1e308 }, 'length_penalty'],
  [{ length_penalty: 1e308 }, 'length_penalty'],
  [{ num_beam: 3 }, 'num_beam'],
])('rejects %j', (asked, name) => {
  expect(() => completeSettings(asked as Partial<GenerationSettings>)).toThrow(name)
})

test('more rows than fit in one run are read in several, with the answers of single rows', async () => {
  const rows = Array.from({ length: 9 }, (_, i) => ({
    prompt: { ...row, ids: [2, ...row.ids.slice(0, i % 3), 20 + i] },
    settings: { max_new_tokens: 1 },
  }))
  const events: string[] = []
  const session = model.sessions['language']!
  const counted = openLanguageModel(model.manifest, {
    language: {
      ...session,
      run: (...args) => {
        events.push('run')
        return session.run(...args)
      },
    },
  })
  const check = () => void events.push('check')
  const together = await generate(counted!, rows, { check })
  expect(events).toEqual(['check', 'run', 'check', 'run'])
  const alone: number[][][] = []
  for (const one of rows) alone.push(...(await generate(language, [one])))
  expect(together).toEqual(alone)
})

test('a model without EOS and padding tokens generates max_new_tokens ids, with and without beams', async () => {
  const endless = openDecoder({
    session: model.sessions['language']!,
    description: { ...decoder(), eos_token_id: [], pad_token_id: null },
    queries: model.manifest.queries.count,
  })
  const rows = [row, { ...row, ids: [2] }]
  for (const num_beams of [1, 3]) {
    const settings = { num_beams, max_new_tokens: 40, min_new_tokens: 3 }
    const answers = await generate(
      endless,
      rows.map((prompt) => ({ prompt, settings })),
    )
    expect(answers.map(([best]) => best!.length)).toEqual([40, 40])
  }
})
