// LLaMA: rotary tables, and what config.json and the tensors of three generations of files say. That each is equal to
// transformers is compared with the fixtures and by reference/sweep.py.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DecoderDescription } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { planModel } from '../../src/model/architectures.ts'
import { llamaConfig, rotaryTables } from '../../src/model/llama.ts'
import { FIXTURES } from '../fixtures.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/llama-grouped')
const config = JSON.parse(await readFile(join(CHECKPOINT, 'config.json'), 'utf8'))
const withText = (edits: object) => ({ ...config, text_config: { ...config.text_config, ...edits } })
const languageOf = (json: unknown) => planModel(json).description.language as DecoderDescription

/** theta, position, pair, cosine, sine: LlamaRotaryEmbedding of transformers 5.18, head size 128. */
const ROWS: [number, number, number, number, number][] = [
  [10000, 1, 0, 0.540302336, 0.841470957],
  [10000, 1, 1, 0.647905827, 0.761720419],
  [10000, 1, 17, 0.996252894, 0.0864882395],
  [10000, 1, 63, 1, 0.000115478193],
  [10000, 255, 0, -0.862303615, -0.506391644],
  [10000, 255, 1, 0.614202082, 0.789148748],
  [10000, 255, 17, -0.99586761, -0.0908164978],
  [10000, 255, 63, 0.999566495, 0.0294426829],
  [10000, 2047, 0, 0.249715254, -0.968319297],
  [10000, 2047, 1, 0.717373252, 0.69668901],
  [10000, 2047, 17, 0.234876245, 0.972025275],
  [10000, 2047, 63, 0.972191215, 0.234188586],
  [500, 1, 0, 0.540302336, 0.841470957],
  [500, 1, 1, 0.615747273, 0.787943721],
  [500, 1, 17, 0.981642723, 0.190729171],
  [500, 1, 63, 0.999997556, 0.00220394647],
  [500, 255, 0, -0.862303615, -0.506391644],
  [500, 255, 1, 0.475764513, -0.87957269],
  [500, 255, 17, 0.238734946, -0.971084774],
  [500, 255, 63, 0.846187413, 0.532885432],
  [500, 2047, 0, 0.249715254, -0.968319297],
  [500, 2047, 1, -0.626252651, -0.779620171],
  [500, 2047, 17, -0.991527617, -0.129895911],
  [500, 2047, 63, -0.199557915, -0.979886055],
]

describe('rotary tables', () => {
  test.each(ROWS)('theta %d: position %d, pair %d', (theta, position, pair, cos, sin) => {
    const tables = rotaryTables(theta, 128, position + 1)
    const at = position * 64 + pair
    // One unit in the last place of a float32 below 1.
    expect(Math.abs(tables.cos[at]! - cos)).toBeLessThanOrEqual(6e-8)
    expect(Math.abs(tables.sin[at]! - sin)).toBeLessThanOrEqual(6e-8)
  })
})

describe('rotary settings', () => {
  test.each([
    ['of transformers 5', { rope_parameters: { rope_type: 'default', rope_theta: 500 } }, 500],
    ['of transformers 4', { rope_theta: 500, rope_scaling: null }, 500],
    ['of 4, with a type', { rope_theta: 500, rope_scaling: { type: 'default' } }, 500],
    ['that are absent', {}, 10_000],
    ['that are null', { rope_parameters: null }, 10_000],
  ])('%s', (_, text, theta) => {
    expect(llamaConfig.parse(text)).toMatchObject({ rope_type: 'default', rope_theta: theta })
  })

  test.each([
    [{ rope_parameters: { rope_type: 'llama3', rope_theta: 500, factor: 8 } }, 'llama3'],
    [{ rope_scaling: { type: 'linear', factor: 2 } }, 'linear'],
  ])('of another type are refused: %j', (edits, type) => {
    expect(() => planModel(withText({ rope_theta: undefined, ...edits }))).toThrow(
      `the rotary positions (rope_parameters, rope_scaling) are of the type "${type}"; only "default" can be built`,
    )
  })
})

describe('config.json', () => {
  test('-1 is no token; a list of end tokens is read', () => {
    const odd = { pad_token_id: -1, bos_token_id: 0, eos_token_id: [1, 2] }
    expect(languageOf(withText(odd))).toMatchObject({
      pad_token_id: null,
      bos_token_id: 0,
      eos_token_id: [1, 2],
    })
    expect(languageOf(withText({ eos_token_id: -1 })).eos_token_id).toEqual([])
    expect(languageOf(withText({ eos_token_id: null })).eos_token_id).toEqual([])
  })

  test('the defaults are those of LLaMA 7B', () => {
    const text = { model_type: 'llama' }
    expect(languageOf({ ...config, text_config: text, num_query_tokens: 32 })).toMatchObject({
      width: 4096,
      vocabulary: 32_000,
      layers: 32,
      heads: 32,
      head_size: 128,
      positions: 2048,
      bos_token_id: 1,
      pad_token_id: null,
      eos_token_id: [2],
    })
  })

  test('a file without architectures is of the class that answers', () => {
    const { architectures: _, ...rest } = config
    expect(planModel(rest).description.architecture).toBe('instructblip-llama')
  })

  test('heads that share keys and values have a cache of fewer heads', () => {
    expect(languageOf(config)).toMatchObject({ heads: 2, head_size: 8, width: 24 })
  })

  test.each([
    [{ num_key_value_heads: 3 }, 'num_attention_heads 4 is not a multiple of num_key_value_heads 3'],
    [{ head_dim: 7 }, 'head_dim 7 is odd'],
    [{ hidden_size: 25 }, 'hidden_size 25 is not a multiple of num_attention_heads 4'],
    [{ max_position_embeddings: 7 }, 'num_query_tokens 7 leaves no room for text'],
    [{ eos_token_id: 100_000 }, 'eos_token_id 100000 is not below vocab_size'],
  ])('%j is refused', (edits, message) => {
    expect(() => planModel(withText(edits))).toThrow(message)
  })

  test('the instruction is the prompt, and the Q-Former has a tokenizer of its own', () => {
    const { description, tokenizers } = planModel(config)
    expect(description.prompt).toMatchObject({ question: '{question}' })
    expect(description.queries).toMatchObject({ reads_text: true, text: { tokenizer: 'qformer_' } })
    expect(tokenizers.map(({ folder }) => folder)).toEqual(['', 'qformer_tokenizer'])
  })
})

describe('a checkpoint', () => {
  let room: string
  beforeAll(async () => {
    room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  })
  afterAll(() => rm(room, { recursive: true }))

  test('without the second tokenizer is refused', async () => {
    const folder = join(room, 'one-tokenizer')
    await cp(CHECKPOINT, folder, { recursive: true })
    await rm(join(folder, 'qformer_tokenizer'), { recursive: true })
    const built = buildArtifact(folder, join(room, 'none'), { precision: 'fp32', trial: false })
    await expect(built).rejects.toMatchObject({
      code: 'no_tokenizer',
      message: expect.stringContaining('qformer_tokenizer'),
    })
  })

  test('whose Q-Former knows fewer ids than the second tokenizer is refused', async () => {
    const folder = join(room, 'small-vocabulary')
    await cp(CHECKPOINT, folder, { recursive: true })
    const small = { ...config, qformer_config: { ...config.qformer_config, vocab_size: 100 } }
    await writeFile(join(folder, 'config.json'), JSON.stringify(small))
    const built = buildArtifact(folder, join(room, 'none'), { precision: 'fp32', trial: false })
    await expect(built).rejects.toMatchObject({ code: 'bad_tokenizer' })
  })
})
