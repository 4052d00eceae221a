// Every stage of every fixture checkpoint equals transformers 5.18 (see reference/record.py).

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import type { PromptRow } from '../../src/run/decoder.ts'
import { generate } from '../../src/run/generate.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { completeSettings } from '../../src/generation-settings.ts'
import { type Reference, readReference } from '../../src/verify/reference.ts'
import { type Comparison, compare } from '../../src/verify/verify.ts'
import { CHECKPOINTS, FIXTURES } from '../fixtures.ts'

/** float32 sums in another order differ by about 1e-6; a wiring mistake by more than 1e-2. */
const SAME = 1e-4
const SAME_PROBABILITY = 1e-5
const REFERENCES = join(FIXTURES, 'references')

describe.each(CHECKPOINTS)('%s', (name) => {
  let folder: string
  let model: Model
  let reference: Reference
  let comparison: Comparison

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
    await buildArtifact(join(FIXTURES, 'checkpoints', name), join(folder, name), { precision: 'fp32' })
    model = await openModel(join(folder, name), { threads: 1 })
    reference = await readReference(join(REFERENCES, `${name}.safetensors`))
    comparison = await compare(model, reference, REFERENCES)
  })
  afterAll(async () => {
    await model.close()
    await rm(folder, { recursive: true })
  })

  const row = ({ picture, prompt }: { picture: number; prompt: number }): PromptRow => {
    const { queries, width } = model.manifest.sizes
    const size = queries * width
    return {
      prefix: reference.floats('prefix').slice(picture * size, (picture + 1) * size),
      ids: reference.description.input_ids![prompt]!,
    }
  }

  test('every stage from pixels to logits', () => {
    expect(comparison.stages.map(({ stage }) => stage)).toEqual([
      'pixel_values',
      'vision',
      'queries',
      'prefix',
      'logits',
      'chances',
    ])
    for (const { stage, relativeError } of comparison.stages) expect(relativeError, stage).toBeLessThan(SAME)
    expect(comparison.stages.at(-1)!.maxAbsoluteError).toBeLessThan(SAME_PROBABILITY)
  })

  test('the same tokens for every setting without sampling, alone and in batches', () => {
    expect(comparison.tokens.differing).toEqual([])
    expect(comparison.tokens).toMatchObject({ compared: 194, equal: 194 })
  })

  test('the ids of each prompt', () => {
    const { prompts, input_ids } = reference.description
    expect(prompts.map((prompt) => model.tokenizer.encode(prompt))).toEqual(input_ids)
  })

  test.each([
    { num_beams: 3, num_return_sequences: 2, max_new_tokens: 8 },
    { num_beams: 2, early_stopping: true, length_penalty: 2, max_new_tokens: 8 },
    { max_new_tokens: 8, repetition_penalty: 1.4, no_repeat_ngram_size: 2 },
  ])('two pictures with two prompts together equal each alone: %j', async (asked) => {
    const settings = completeSettings(asked)
    const rows = [row({ picture: 0, prompt: 1 }), row({ picture: 1, prompt: 2 })]
    const together = await generate(model, rows, settings)
    const alone = await Promise.all(rows.map((one) => generate(model, [one], settings)))
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
    const rows = [row({ picture: 0, prompt: 0 }), row({ picture: 1, prompt: 1 })]
    for (const num_beams of [1, 4]) {
      const answers = await generate(model, rows, completeSettings({ ...given, num_beams }))
      expect(answers.map((ofRow) => ofRow.map(({ length }) => length))).toEqual([
        [5, 5, 5],
        [5, 5, 5],
      ])
    }
  })
})
