// The storage format of each weight of a checkpoint.

import { expect, test } from 'vitest'
import {
  BLIP2_OPT,
  formatOf as formatByRules,
  PRECISIONS,
  type Precision,
  rulesOf,
  TARGETS,
  type Target,
} from '../../src/quantize/recipes.ts'

const formatOf = (precision: Precision, path: string, target?: Target) =>
  formatByRules(rulesOf(BLIP2_OPT, precision, target), precision, path)

const BLOCKS_8 = { kind: 'blocks', bits: 8, block: 128 }
const SMOOTH = { smooth: 0.4, large: 16 }
const BLOCKS_4 = { kind: 'blocks', bits: 4, block: 256, ...SMOOTH }
const TOKENS = { kind: 'tokens', smooth: 0.4 }
const QUERIES = { kind: 'tokens' }
const NEURONS = { kind: 'tokens', large: 64 }
const SMOOTH_8 = { ...BLOCKS_8, ...SMOOTH }
const FLOAT32 = { kind: 'float32' }

test.each([
  ['vision_model.encoder.layers.0.mlp.fc1.weight', TOKENS, TOKENS],
  ['vision_model.encoder.layers.0.mlp.fc2.weight', NEURONS, NEURONS],
  ['vision_model.embeddings.patch_embedding.weight', FLOAT32, FLOAT32],
  ['query_tokens', FLOAT32, FLOAT32],
  ['qformer.encoder.layer.0.attention.attention.query.weight', QUERIES, QUERIES],
  ['language_projection.weight', QUERIES, QUERIES],
  ['language_model.model.decoder.embed_tokens.weight', BLOCKS_8, BLOCKS_8],
  ['language_model.lm_head.weight', BLOCKS_8, BLOCKS_8],
  ['language_model.model.decoder.embed_positions.weight', FLOAT32, FLOAT32],
  ['language_model.model.decoder.layers.31.fc1.weight', SMOOTH_8, BLOCKS_4],
])('%s', (path, int8, int4) => {
  expect(formatOf('fp32', path)).toEqual(FLOAT32)
  expect(formatOf('int8', path)).toEqual(int8)
  expect(formatOf('int4', path)).toEqual(int4)
})

test('the target gpu stores vision in blocks and changes no other format', () => {
  const vision = 'vision_model.encoder.layers.0.self_attn.qkv.weight'
  const word = 'language_model.model.decoder.layers.31.fc1.weight'
  expect(formatOf('fp32', vision, 'gpu')).toEqual(FLOAT32)
  for (const precision of ['int8', 'int4'] as const) {
    expect(formatOf(precision, vision, 'gpu')).toEqual({ ...BLOCKS_8, smooth: 0.4 })
    expect(formatOf(precision, word, 'gpu')).toEqual(formatOf(precision, word))
  }
})

test('at int8 and int4 a weight that no rule names is an error, not stored at its full size', () => {
  const path = 'another_model.layers.0.fc1.weight'
  expect(formatOf('fp32', path)).toEqual(FLOAT32)
  for (const precision of ['int8', 'int4'] as const) {
    expect(() => formatOf(precision, path)).toThrow(`a rule for ${path} in the recipe ${precision}`)
  }
})

test('every rule has a reason', () => {
  for (const precision of PRECISIONS)
    for (const target of TARGETS)
      for (const { reason } of rulesOf(BLIP2_OPT, precision, target))
        expect(reason.length).toBeGreaterThan(20)
})
