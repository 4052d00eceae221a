// Rows that are generated together, with a scripted language model: rows join and leave between steps, each has its own
// settings and random generator, and each fails alone.

import { describe, expect, test } from 'vitest'
import { completeSettings, type GenerationSettings } from '../../src/generation-settings.ts'
import { Generation, type GenerationRow, generate } from '../../src/run/generate.ts'
import type { LanguageModel, PromptRow, RowOutput } from '../../src/run/language-model.ts'
import { Tensor } from '../../src/run/tensor.ts'

const V = 12
const EOS = 2
const prefix = Tensor.float32(new Float32Array(0), [1, 0, 1])
const prompt = (...ids: number[]): PromptRow => ({ prefix, ids })

/** A state is what the row has read. */
interface ScriptedState {
  read: readonly number[]
}

/**
 * A language model whose logits depend on all ids that a row has read, so that a row that continues a wrong state gets other
 * ids. It records each run: the ids that its rows have read.
 */
function scripted() {
  const runs: number[][][] = []
  const prefills: number[] = []
  const output = (read: readonly number[]): RowOutput => {
    const seed = read.reduce((hash, id) => (hash * 31 + id + 1) % 65_521, 7)
    const logits = Float32Array.from({ length: V }, (_, id) => 2 * Math.sin(seed * (id + 1)))
    // An end becomes likely after nine ids.
    logits[EOS] = read.length < 9 ? -4 : 2.5
    return { state: { read } satisfies ScriptedState, logits }
  }
  const model: LanguageModel = {
    vocabulary: V,
    eosTokenIds: [EOS],
    padTokenId: 1,
    imageTokenId: null,
    start: (ids) => [...ids],
    room: (length) => 100 - length,
    context: (ids = [], generated) => ({
      ids: [...ids, ...generated],
      length: ids.length + generated.length,
      newTokens: generated.length,
    }),
    async prefill(rows) {
      prefills.push(rows.length)
      return rows.map(({ ids }) => output(ids))
    },
    async step(states, tokenIds) {
      const read = (states as ScriptedState[]).map((state, i) => [...state.read, tokenIds[i]!])
      runs.push(read)
      return read.map(output)
    },
    allLogits: async ({ ids }) => ids.map((_, i) => output(ids.slice(0, i + 1)).logits),
  }
  return { model, runs, prefills }
}

interface Watched extends GenerationRow {
  answers?: number[][]
  error?: unknown
  tokens: number[]
}

/** A row that records what it is called with. Ends are counted: each row has one. */
function watched(ids: number[], settings: Partial<GenerationSettings> = {}): Watched & { ends: number } {
  const row = {
    prompt: prompt(...ids),
    settings: completeSettings({ max_new_tokens: 6, ...settings }),
    tokens: [] as number[],
    ends: 0,
    onToken: (id: number) => void row.tokens.push(id),
    onDone(answers: number[][]) {
      row.answers = answers
      row.ends++
    },
    onError(error: unknown) {
      row.error = error
      row.ends++
    },
  } as Watched & { ends: number }
  return row
}

async function alone(ids: number[], settings: Partial<GenerationSettings> = {}): Promise<number[][]> {
  const [answers] = await generate(scripted().model, [
    { prompt: prompt(...ids), settings: { max_new_tokens: 6, ...settings } },
  ])
  return answers!
}

async function finish(generation: Generation): Promise<void> {
  while (generation.size > 0) await generation.step()
}

/** Rows whose settings differ in every way that the search knows. */
const ROWS: [number[], Partial<GenerationSettings>][] = [
  [[5], {}],
  [[5, 6, 7], { num_beams: 3, num_return_sequences: 2, length_penalty: 2 }],
  [[5], { do_sample: true, seed: 1, temperature: 2, max_new_tokens: 9 }],
  [[5], { do_sample: true, seed: 2, temperature: 2, max_new_tokens: 9 }],
  [[4, 3], { do_sample: true, num_return_sequences: 3, seed: 3, top_k: 4 }],
  [[4, 3], { do_sample: true, num_beams: 4, seed: 4, temperature: 3 }],
  [[9, 8, 7, 6], { repetition_penalty: 1.7, no_repeat_ngram_size: 2, max_new_tokens: 12 }],
  [[9], { eos_token_id: [3, 4, 5, 6, 7, 8] }],
  [[9], { max_new_tokens: 1 }],
]

describe('rows with settings of their own', () => {
  test('get together the answers that each gets alone', async () => {
    const { model, prefills } = scripted()
    const rows = ROWS.map(([ids, settings]) => watched(ids, settings))
    const generation = new Generation(model)
    await generation.join(rows)
    await finish(generation)
    const expected = await Promise.all(ROWS.map(([ids, settings]) => alone(ids, settings)))
    expect(rows.map(({ answers }) => answers)).toEqual(expected)
    expect(rows.map(({ ends }) => ends)).toEqual(ROWS.map(() => 1))
    expect(prefills).toEqual([ROWS.length])
    // Settings and seeds matter: no two rows have the same answers.
    expect(new Set(expected.map(String)).size).toBe(ROWS.length)
  })

  test('continue what they have read: each answer was read id by id, beams too', async () => {
    const { model, runs } = scripted()
    const rows = ROWS.map(([ids, settings]) => watched(ids, settings))
    const generation = new Generation(model)
    await generation.join(rows)
    await finish(generation)
    const read = new Set(runs.flat().map(String))
    for (const [i, [ids]] of ROWS.entries()) {
      for (const answer of rows[i]!.answers!) {
        const prefixes = answer.slice(1).map((_, k) => String([...ids, ...answer.slice(0, k + 1)]))
        expect(prefixes.filter((one) => !read.has(one))).toEqual([])
      }
    }
  })

  test.each([1, 2, 5])('that join one after another, every %i steps, get the same answers', async (every) => {
    const { model } = scripted()
    const rows = ROWS.map(([ids, settings]) => watched(ids, settings))
    const generation = new Generation(model)
    for (const row of rows) {
      await generation.join([row])
      for (let i = 0; i < every; i++) await generation.step()
    }
    await finish(generation)
    for (const [i, [ids, settings]] of ROWS.entries()) {
      expect(rows[i]!.answers, `row ${i}`).toEqual(await alone(ids, settings))
    }
  })

  test('hand on each id as soon as it is chosen, where there is one sequence', async () => {
    const { model } = scripted()
    const rows = ROWS.map(([ids, settings]) => watched(ids, settings))
    const generation = new Generation(model)
    await generation.join(rows)
    await generation.step()
    const isOne = ({ settings }: GenerationRow) =>
      settings.num_beams === 1 && settings.num_return_sequences === 1
    expect(rows.map(({ tokens }) => tokens.length)).toEqual(rows.map((row) => Number(isOne(row))))
    await finish(generation)
    for (const row of rows) expect(row.tokens).toEqual(isOne(row) ? row.answers![0] : [])
  })
})

describe('a row leaves', () => {
  test('at its end, and the model no longer runs it', async () => {
    const { model, runs } = scripted()
    const short = watched([5], { max_new_tokens: 2 })
    const long = watched([6], { max_new_tokens: 5 })
    const generation = new Generation(model)
    await generation.join([short, long])
    expect(generation.size).toBe(2)
    await finish(generation)
    expect(short.answers![0]).toHaveLength(2)
    // The last token of each row is not read: nothing follows it.
    expect(runs.map((rows) => rows.length)).toEqual([2, 1, 1, 1])
  })

  test('unfinished when nobody wants it, and the others are as alone', async () => {
    const { model, runs } = scripted()
    const unwanted = watched([5], { max_new_tokens: 9, min_new_tokens: 9 })
    let wanted = true
    unwanted.isWanted = () => wanted
    const other = watched([6, 7], { num_beams: 2 })
    const generation = new Generation(model)
    await generation.join([unwanted, other])
    await generation.step()
    await generation.step()
    wanted = false
    await finish(generation)
    expect([unwanted.ends, unwanted.tokens.length]).toEqual([0, 2])
    expect(other.answers).toEqual(await alone([6, 7], { num_beams: 2 }))
    expect(runs.map((rows) => rows.length).slice(0, 3)).toEqual([3, 3, 2])
  })

  test('before its first step when nobody wants it', async () => {
    const { model, runs } = scripted()
    const unwanted = watched([5])
    unwanted.isWanted = () => false
    const generation = new Generation(model)
    await generation.join([unwanted])
    await generation.step()
    expect([generation.size, unwanted.ends, runs.length]).toEqual([0, 0, 0])
  })

  test.each([{}, { num_beams: 3 }, { do_sample: true }])(
    'with its own error when its settings allow no token: %j',
    async (asked) => {
      const { model } = scripted()
      // Each id may occur once, so ten ids, the end and the padding are the last that it can generate.
      const failing = watched([5], {
        ...asked,
        no_repeat_ngram_size: 1,
        max_new_tokens: 20,
        min_new_tokens: 20,
      })
      const other = watched([6, 7], { max_new_tokens: 20, min_new_tokens: 20 })
      const generation = new Generation(model)
      await generation.join([failing, other])
      await finish(generation)
      expect(failing.error).toMatchObject({ kind: 'request', code: 'bad_settings' })
      expect([failing.ends, failing.answers, other.ends]).toEqual([1, undefined, 1])
      expect(other.answers).toEqual(await alone([6, 7], { max_new_tokens: 20, min_new_tokens: 20 }))
      expect(other.answers![0]).toHaveLength(20)
    },
  )
})

test('rows that join an empty generation after its end are generated', async () => {
  const { model } = scripted()
  const generation = new Generation(model)
  await generation.step()
  const first = watched([5])
  await generation.join([first])
  await finish(generation)
  const second = watched([6])
  await generation.join([second])
  await finish(generation)
  expect([first.answers, second.answers]).toEqual([await alone([5]), await alone([6])])
})

test('check ends all rows: it is called before the prefill and before each step of the model', async () => {
  const { model, runs, prefills } = scripted()
  let calls = 0
  const check = () => {
    if (++calls === 3) throw new Error('cancelled')
  }
  const row = watched([5])
  const generation = new Generation(model, { check })
  await generation.join([row])
  await generation.step()
  await expect(generation.step()).rejects.toThrow('cancelled')
  expect([prefills.length, runs.length, row.ends]).toEqual([1, 1, 0])
})

test('suppressed ids are chosen in no row', async () => {
  const suppressTokens = [3, 4, 5, 6, 7]
  const { model } = scripted()
  const rows = ROWS.map(([ids, settings]) => ({
    prompt: prompt(...ids),
    settings: { max_new_tokens: 6, ...settings },
  }))
  const answers = (await generate(model, rows, { suppressTokens })).flat(2)
  expect(answers.filter((id) => suppressTokens.includes(id))).toEqual([])
  expect((await generate(model, rows)).flat(2).some((id) => suppressTokens.includes(id))).toBe(true)
})

test('generate throws the error of a row', async () => {
  const rows = [
    { prompt: prompt(5) },
    { prompt: prompt(6), settings: { no_repeat_ngram_size: 1, max_new_tokens: 20, min_new_tokens: 20 } },
  ]
  await expect(generate(scripted().model, rows)).rejects.toMatchObject({ code: 'bad_settings' })
  await expect(
    generate(scripted().model, [{ prompt: prompt(5), settings: { num_beams: 0 } }]),
  ).rejects.toMatchObject({ code: 'bad_settings' })
})

describe('settings of LAVIS', () => {
  /** The scripted model with the same scores at each step: id 5, then 6, then the end, then 0. */
  const steady = () => {
    const { model } = scripted()
    const scores = Float32Array.from({ length: V }, (_, id) => ({ 5: 3, 6: 2.5, [EOS]: 2, 0: 1.9 })[id] ?? -1)
    const output = (): RowOutput => ({ state: {}, logits: scores })
    const fixed: LanguageModel = {
      ...model,
      context: (ids, generated) => model.context(ids ?? [], generated),
      prefill: async (rows) => rows.map(output),
      step: async (states) => states.map(output),
    }
    return fixed
  }
  const first = async (settings: Partial<GenerationSettings>) => {
    const row = { prompt: prompt(5, EOS), settings: { max_new_tokens: 3, ...settings } }
    return (await generate(steady(), [row]))[0]![0]!
  }

  test('penalties see the prompt, or with penalize_answer_only the answer alone', async () => {
    const repetition = { repetition_penalty: 1.4 }
    expect(await first(repetition)).toEqual([6, 5, 5])
    expect(await first({ ...repetition, penalize_answer_only: true })).toEqual([5, 6, 5])
    const noRepeat = { no_repeat_ngram_size: 1 }
    expect(await first(noRepeat)).toEqual([6, 0, expect.any(Number)])
    expect(await first({ ...noRepeat, penalize_answer_only: true })).toEqual([5, 6, EOS])
  })

  test('min_length counts the prompt, or with penalize_answer_only the answer alone', async () => {
    const settings = { min_length: 2, no_repeat_ngram_size: 1, eos_token_id: 5 }
    expect(await first({ ...settings, no_repeat_ngram_size: 0 })).toEqual([5])
    expect(await first({ ...settings, penalize_answer_only: true })).toEqual([6, EOS, 5])
  })

  test('zero_id_as_two makes 2 of the ids 0', async () => {
    const settings = { no_repeat_ngram_size: 1, max_new_tokens: 2 }
    expect(await first(settings)).toEqual([6, 0])
    expect(await first({ ...settings, zero_id_as_two: true })).toEqual([6, 2])
  })
})
