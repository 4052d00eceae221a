// T5: buckets of distances, and what config.json and tensors say in all the ways of three generations of files. That each is
// equal to transformers is compared with the fixtures and by reference/sweep.py.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EncoderDecoderDescription } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { readSafetensors } from '../../src/checkpoint/safetensors.ts'
import { planModel } from '../../src/model/architectures.ts'
import { bucketsOfDistances } from '../../src/model/t5.ts'
import { openModel } from '../../src/run/model.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { FIXTURES } from '../fixtures.ts'
import { safetensors } from '../make-checkpoint.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/t5-gated')
const config = JSON.parse(await readFile(join(CHECKPOINT, 'config.json'), 'utf8'))
const withText = (edits: object) => ({ ...config, text_config: { ...config.text_config, ...edits } })
const SHARED = 'language_model.shared.weight'
const HEAD = 'language_model.lm_head.weight'
const SCALE = config.text_config.d_model ** -0.5

describe('buckets', () => {
  const tables: [string, number, number, boolean, number[], number[]][] = [
    [
      'of keys on both sides, with the defaults',
      32,
      128,
      true,
      [0, 1, 7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 128, -1, -8, -128],
      [0, 17, 23, 24, 24, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30, 31, 31, 1, 8, 15],
    ],
    [
      'of earlier keys, with the defaults',
      32,
      128,
      false,
      [0, 1, 15, 16, 18, 19, 20, 21, 23, 24, 31, 32, 44, 45, 63, 64, 112, 113, 500].map((one) => -one),
      [0, 1, 15, 16, 16, 17, 17, 18, 18, 19, 21, 21, 23, 23, 26, 26, 30, 31, 31],
    ],
    ['of an odd number', 9, 21, true, [-7, -6, -2, -1, 0, 1, 2, 6, 7], [3, 2, 2, 1, 0, 5, 6, 6, 7]],
  ]
  // T5Attention._relative_position_bucket of transformers 5.18.
  test.each(tables)('%s', (_, buckets, most, isBidirectional, distances, expected) => {
    const sizes = { relative_attention_num_buckets: buckets, relative_attention_max_distance: most }
    const found = distances.map((one) => bucketsOfDistances(one, one, sizes, isBidirectional)[0])
    // transformers gives 0, not -0.
    expect(found.map((one) => one! + 0)).toEqual(expected)
  })
})

describe('a checkpoint', () => {
  let room: string
  let stored: { name: string; dtype: string; shape: number[]; bytes: Uint8Array }[]
  let count = 0
  beforeAll(async () => {
    room = await mkdtemp(join(tmpdir(), 'glimpse-'))
    const { tensors } = await readSafetensors(join(CHECKPOINT, 'model.safetensors'))
    stored = [...tensors].map(([name, { data, shape }]) => {
      const bytes = new Uint8Array(Float32Array.from(data as Float32Array).buffer)
      return { name, dtype: 'F32', shape: [...shape], bytes }
    })
  })
  afterAll(() => rm(room, { recursive: true }))

  const tensorNamed = (name: string) => stored.find((one) => one.name === name)!
  const without = (...names: string[]) => stored.filter(({ name }) => !names.includes(name))
  const copied = (name: string, change = (bytes: Uint8Array) => bytes) => ({
    ...tensorNamed(SHARED),
    name: `language_model.${name}.weight`,
    bytes: change(tensorNamed(SHARED).bytes),
  })
  /** The rows in the opposite order, so that each id has another one. */
  const flipped = (bytes: Uint8Array) =>
    new Uint8Array(new Float32Array(bytes.slice().buffer).reverse().buffer)

  /** The logits of three positions, and the encoder's output, of the fixture with other files. */
  async function outputsOf({ text = {}, tensors = stored }: { text?: object; tensors?: typeof stored }) {
    const checkpoint = join(room, `checkpoint-${count}`)
    const artifact = join(room, `artifact-${count++}`)
    await cp(CHECKPOINT, checkpoint, { recursive: true })
    await writeFile(join(checkpoint, 'config.json'), JSON.stringify(withText(text)))
    await writeFile(join(checkpoint, 'model.safetensors'), safetensors(tensors))
    await buildArtifact(checkpoint, artifact, { precision: 'fp32', trial: false })
    const model = await openModel(artifact, { threads: 1 })
    try {
      const { width } = model.manifest.language as EncoderDecoderDescription
      const dims = [1, model.manifest.queries.count, width]
      const values = Float32Array.from({ length: dims[1]! * width }, (_, i) => Math.sin(i))
      const row = { prefix: Tensor.float32(values, dims), ids: [30, 31, 1] }
      const logits = (await model.language!.allLogits(row, [0, 5, 9])).flatMap((own) => [...own])
      return { logits, encoder: [...(await (await model.language!.encode!(row)).floats())] }
    } finally {
      await model.close()
    }
  }

  const near = (values: readonly number[], expected: readonly number[]) => {
    expect(values).toHaveLength(expected.length)
    expect(Math.max(...values.map((one, i) => Math.abs(one - expected[i]!)))).toBeLessThan(1e-4)
  }

  test.each<[string, object, number]>([
    ['tie_word_embeddings false', { tie_word_embeddings: false }, 1],
    ['tie_word_embeddings true', { tie_word_embeddings: true }, SCALE],
    ['neither', { tie_word_embeddings: undefined }, SCALE],
    ['both, as transformers 5 writes', { tie_word_embeddings: true, scale_decoder_outputs: false }, 1],
    ['scale_decoder_outputs true', { tie_word_embeddings: false, scale_decoder_outputs: true }, SCALE],
  ])('with %s: whether the output is scaled does not change which head is used', async (_, text, factor) => {
    const usual = await outputsOf({})
    const { logits } = await outputsOf({ text })
    near(
      logits,
      usual.logits.map((one) => one * factor),
    )
    // The same head as tensors without one of its own would give others.
    const tied = await outputsOf({ text, tensors: without(HEAD) })
    expect(tied.encoder).toEqual(usual.encoder)
    expect(Math.max(...tied.logits.map((one, i) => Math.abs(one - logits[i]!)))).toBeGreaterThan(0.1)
  })

  test('has one embedding under any of its names', async () => {
    const tied = await outputsOf({ tensors: without(HEAD) })
    for (const name of ['encoder.embed_tokens', 'decoder.embed_tokens', 'lm_head']) {
      const tensors = [...without(HEAD, SHARED), copied(name)]
      expect(await outputsOf({ tensors }), name).toEqual(tied)
    }
  })

  test('may have duplicates, and what older releases wrote and did not read', async () => {
    const unread = 'language_model.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'
    const bias = tensorNamed(
      'language_model.decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
    )
    const tensors = [
      ...stored,
      copied('encoder.embed_tokens'),
      copied('decoder.embed_tokens'),
      { ...bias, name: unread },
    ]
    expect(await outputsOf({ tensors })).toEqual(await outputsOf({}))
  })

  test('with another embedding in the decoder uses it there alone', async () => {
    const usual = await outputsOf({})
    const other = await outputsOf({ tensors: [...stored, copied('decoder.embed_tokens', flipped)] })
    expect(other.encoder).toEqual(usual.encoder)
    expect(Math.max(...other.logits.map((one, i) => Math.abs(one - usual.logits[i]!)))).toBeGreaterThan(0.1)
  })

  test('with any other tensor is refused', async () => {
    const name = 'language_model.decoder.block.1.layer.1.EncDecAttention.relative_attention_bias.weight'
    await expect(outputsOf({ tensors: [...stored, { ...tensorNamed(SHARED), name }] })).rejects.toMatchObject(
      {
        code: 'wrong_tensors',
        message: expect.stringContaining(name),
      },
    )
  })
})

test.each<[string, object, string]>([
  ['an unknown activation', { feed_forward_proj: 'gated-swoosh' }, 'feed_forward_proj'],
  ['three words', { feed_forward_proj: 'gated-gelu-new' }, 'feed_forward_proj'],
  ['an unknown dense activation', { dense_act_fn: 'swoosh' }, 'dense_act_fn'],
  ['too few buckets', { relative_attention_num_buckets: 3 }, 'relative_attention_num_buckets'],
  ['a distance within the exact buckets', { relative_attention_max_distance: 4 }, 'max_distance 4'],
  ['a start outside the vocabulary', { decoder_start_token_id: 256 }, 'decoder_start_token_id 256'],
])('%s is a bad config whose error names it', (_, text, words) => {
  expect(() => planModel(withText(text))).toThrow(words)
})

test.each<[string, object, object]>([
  [
    'the start token is the begin token if there is none',
    { decoder_start_token_id: null, bos_token_id: 3 },
    { decoder_start_token_id: 3 },
  ],
  [
    'an empty prompt is the end token if there is no begin token',
    { bos_token_id: null },
    { bos_token_id: 1 },
  ],
  ['the decoder is as deep as the encoder', { num_decoder_layers: null, num_layers: 3 }, { layers: 3 }],
  [
    'the end may be a list, and padding absent',
    { eos_token_id: [1, 4], pad_token_id: null },
    { eos_token_id: [1, 4], pad_token_id: null },
  ],
  [
    'prompts are as long as T5 was trained for',
    { n_positions: undefined },
    { positions: 512 + config.num_query_tokens },
  ],
])('%s', (_, text, expected) => {
  expect(planModel(withText(text)).description.language).toMatchObject(expected)
})
