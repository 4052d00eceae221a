// Every stage of every fixture checkpoint equals transformers 5.18 (see reference/fixtures.py).

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { QUERIES, VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { readSafetensors } from '../../src/checkpoint/safetensors.ts'
import { AS_TRANSFORMERS, decode } from '../../src/image/decode.ts'
import { toPixels } from '../../src/image/pixels.ts'
import { generate, resolveEosTokenIds } from '../../src/run/generate.ts'
import type { LanguageModel, PromptRow } from '../../src/run/language-model.ts'
import { processorsFor, softmax } from '../../src/run/logits-processors.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { runQueries } from '../../src/run/queries.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { runVision } from '../../src/run/vision.ts'
import { settingsFor } from '../../src/verify/generate-arguments.ts'
import { type Reference, readReference, rowsOf } from '../../src/verify/reference.ts'
import { compare } from '../../src/verify/verify.ts'
import {
  CHECKPOINTS,
  FIXTURES,
  INSTRUCTBLIP_CHECKPOINTS,
  type RecordedCases,
  type RecordedRow,
  readCases,
  T5_CHECKPOINTS,
} from '../fixtures.ts'

/** float32 sums in another order differ by about 1e-6; a wiring mistake by more than 1e-2. */
const SAME = 1e-4
const SAME_PROBABILITY = 1e-5
const REFERENCES = join(FIXTURES, 'references')

describe.each([...CHECKPOINTS, ...T5_CHECKPOINTS])('%s', (name) => {
  let folder: string
  let model: Model
  let language: LanguageModel
  let references: Reference[]
  let recorded: RecordedCases
  /** By picture: [1, Q, D], the model's own. */
  let prefixes: Map<string, Tensor>

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
    await buildArtifact(join(FIXTURES, 'checkpoints', name), join(folder, name), { precision: 'fp32' })
    model = await openModel(join(folder, name), { threads: 1 })
    language = model.language!
    const files = (await readdir(join(REFERENCES, name))).filter((file) => /-\d\.safetensors$/.test(file))
    references = await Promise.all(files.map((file) => readReference(join(REFERENCES, name, file))))
    recorded = await readCases(name)
    prefixes = new Map()
    for (const image of new Set(recorded.cases.map((one) => one.image))) {
      const picture = await decode(await readFile(join(REFERENCES, image)), AS_TRANSFORMERS)
      const { data, dims } = toPixels(picture, model.preprocessorConfig)
      const vision = await runVision(model.sessions[VISION.graph]!, Tensor.float32(data, dims))
      const outputs = await runQueries(model.sessions[QUERIES.graph]!, vision, [QUERIES.prefix])
      prefixes.set(image, outputs[QUERIES.prefix]!)
    }
  })
  afterAll(async () => {
    await model.close()
    await rm(folder, { recursive: true })
  })

  const rowOf = ({ image, prompt }: RecordedRow): PromptRow => ({
    prefix: prefixes.get(image)!,
    ids: language.start(model.tokenizer.encode(prompt)),
  })

  test('every stage from pixels to tokens', async () => {
    const { stages, missingPictures } = await compare(model, references, () => REFERENCES)
    expect(missingPictures).toEqual([])
    expect(stages.map(({ stage, files }) => [stage, files])).toEqual([
      ['pixel_values', 3],
      ['vision', 3],
      ['queries', 3],
      ['prefix', 3],
      ['input_ids', 3],
      ...(language.encode ? [['encoder', 3]] : []),
      ['logits', 3],
      ['token_ids', 3],
    ])
    for (const result of stages) {
      if ('relativeError' in result) expect(result.relativeError, result.stage).toBeLessThan(SAME)
      else expect(result.differing, result.stage).toEqual([])
    }
  })

  test('the ids of each prompt', () => {
    expect(new Set(references.map(({ prompt }) => prompt)).size).toBe(3)
    for (const { prompt, tensors } of references)
      expect([model.tokenizer.encode(prompt!)]).toEqual(rowsOf(tensors.get('input_ids')!))
  })

  test('the same tokens for every setting without sampling', async () => {
    expect(recorded.cases).toHaveLength(192)
    for (const { generation, token_ids: expected, ...row } of recorded.cases) {
      const prompt = rowOf(row)
      const settings = settingsFor(language, generation, prompt.ids)
      const [answers] = await generate(language, [{ prompt, settings }])
      const end = resolveEosTokenIds(language, settings)[0]!
      // With beams, transformers fills with the end token where the padding token has the id 0.
      const found = padded(answers!, expected, language.padTokenId! || end)
      expect(found, JSON.stringify({ ...row, generation })).toEqual(expected)
    }
  })

  test('the same tokens in batches', async () => {
    expect(recorded.batches.map(({ rows }) => rows.length)).toEqual([3, 2])
    for (const { rows, generation, token_ids: expected } of recorded.batches) {
      const prompts = rows.map(rowOf)
      const answers = await generate(
        language,
        prompts.map((prompt) => ({ prompt, settings: settingsFor(language, generation, prompt.ids) })),
      )
      const best = answers.map(([first]) => first!)
      expect(padded(best, expected, language.padTokenId!)).toEqual(expected)
    }
  })

  /** transformers pads the rows of one run to the longest, with the padding token. */
  const padded = (answers: readonly number[][], expected: readonly number[][], id: number) =>
    answers.map((ids, i) => [
      ...ids,
      ...new Array<number>(Math.max(0, (expected[i]?.length ?? 0) - ids.length)).fill(id),
    ])

  test('the same probabilities of a first sampled token', async () => {
    const { tensors } = await readSafetensors(join(REFERENCES, name, 'probabilities.safetensors'))
    const { data, shape } = tensors.get('probabilities')!
    expect(shape).toEqual([recorded.sampled.length, language.vocabulary])
    expect(recorded.sampled).toHaveLength(36)
    for (const [k, { generation, ...row }] of recorded.sampled.entries()) {
      const prompt = rowOf(row)
      const settings = settingsFor(language, generation, prompt.ids)
      const [first] = await language.prefill([prompt])
      const scores = Float32Array.from(first!.logits)
      const context = language.context(prompt.ids, [])
      for (const process of processorsFor(settings, resolveEosTokenIds(language, settings)))
        process(scores, context)
      const errors = Array.from(softmax(scores), (p, id) => Math.abs(p - Number(data[k * shape[1]! + id])))
      expect(Math.max(...errors), JSON.stringify({ ...row, generation })).toBeLessThan(SAME_PROBABILITY)
    }
  })

  const [question, frage] = ['Question: what is it? Answer:', 'Frage: ¿qué 色 is it? 🐈 Antwort:']

  test.each([
    { num_beams: 3, num_return_sequences: 2, max_new_tokens: 8 },
    { num_beams: 2, early_stopping: true, length_penalty: 2, max_new_tokens: 8 },
    { max_new_tokens: 8, repetition_penalty: 1.4, no_repeat_ngram_size: 2 },
  ])('two pictures with two prompts together equal each alone: %j', async (settings) => {
    const rows = [
      { prompt: rowOf({ image: 'disc-40x30.png', prompt: question! }), settings },
      { prompt: rowOf({ image: 'triangle-33x57.png', prompt: frage! }), settings },
    ]
    const together = await generate(language, rows)
    const alone = await Promise.all(rows.map((one) => generate(language, [one])))
    expect(together).toEqual(alone.map(([answers]) => answers))
  })

  test('sampling gives every row num_return_sequences answers', async () => {
    const given = {
      do_sample: true,
      num_return_sequences: 3,
      max_new_tokens: 5,
      min_new_tokens: 5,
      temperature: 2,
    }
    const prompts = [
      rowOf({ image: 'disc-40x30.png', prompt: '' }),
      rowOf({ image: 'triangle-33x57.png', prompt: question! }),
    ]
    for (const num_beams of [1, 4]) {
      const answers = await generate(
        language,
        prompts.map((prompt) => ({ prompt, settings: { ...given, num_beams } })),
      )
      expect(answers.map((ofRow) => ofRow.map(({ length }) => length))).toEqual([
        [5, 5, 5],
        [5, 5, 5],
      ])
    }
  })
})

describe.each(INSTRUCTBLIP_CHECKPOINTS)('%s', (name) => {
  test('every stage and the tokens of every recorded setting', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
    try {
      await buildArtifact(join(FIXTURES, 'checkpoints', name), join(folder, name), { precision: 'fp32' })
      const model = await openModel(join(folder, name), { threads: 1 })
      const files = await readdir(join(REFERENCES, name))
      const references = await Promise.all(files.map((file) => readReference(join(REFERENCES, name, file))))
      const { stages } = await compare(model, references, () => REFERENCES)
      await model.close()
      expect(stages.map(({ stage, files: count }) => [stage, count])).toEqual([
        ['pixel_values', 3],
        ['vision', 3],
        ['queries', 3],
        ['prefix', 3],
        ['qformer_ids', 12],
        ['input_ids', 12],
        ...(model.language!.encode ? [['encoder', 3]] : []),
        ['logits', 3],
        ['token_ids', 12],
      ])
      for (const result of stages) {
        if ('relativeError' in result) expect(result.relativeError, result.stage).toBeLessThan(SAME)
        else expect(result.differing, result.stage).toEqual([])
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
