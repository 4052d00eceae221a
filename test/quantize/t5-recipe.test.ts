// The formats of T5's weights.

import { expect, test } from 'vitest'
import { BLIP2_T5, type Format, formatOf, PRECISIONS, rulesOf } from '../../src/quantize/recipes.ts'

const FLOAT32: Format = { kind: 'float32' }
const BLOCKS_8: Format = { kind: 'blocks', bits: 8, block: 128 }
/** For `wo`, whose input has outliers. */
const FINE_8: Format = { kind: 'blocks', bits: 8, block: 32, smooth: 0.4, large: 16 }
const SMOOTH = { smooth: 0.4, large: 16 }
const SMOOTH_8: Format = { ...BLOCKS_8, ...SMOOTH }
const SMOOTH_4: Format = { kind: 'blocks', bits: 4, block: 256, ...SMOOTH }
const TOKENS: Format = { kind: 'tokens', ...SMOOTH }
const NEURONS: Format = { ...TOKENS, large: 64 }

test.each<[string, Format, Format]>([
  ['shared.weight', BLOCKS_8, BLOCKS_8],
  ['lm_head.weight', BLOCKS_8, BLOCKS_8],
  ['decoder.embed_tokens.weight', BLOCKS_8, BLOCKS_8],
  ['encoder.block.0.layer.0.SelfAttention.q.weight', TOKENS, TOKENS],
  ['encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight', FLOAT32, FLOAT32],
  ['encoder.block.23.layer.1.DenseReluDense.wi_0.weight', TOKENS, TOKENS],
  ['encoder.block.23.layer.1.DenseReluDense.wo.weight', NEURONS, NEURONS],
  ['decoder.block.0.layer.1.EncDecAttention.k.weight', SMOOTH_8, SMOOTH_4],
  ['decoder.block.11.layer.2.DenseReluDense.wo.weight', FINE_8, FINE_8],
  ['decoder.block.11.layer.2.layer_norm.weight', FLOAT32, FLOAT32],
  ['decoder.final_layer_norm.weight', FLOAT32, FLOAT32],
])('%s', (name, int8, int4) => {
  const formats = PRECISIONS.map((precision) =>
    formatOf(rulesOf(BLIP2_T5, precision), precision, `language_model.${name}`),
  )
  expect(formats).toEqual([FLOAT32, int8, int4])
})
