// OPT, the language model: image embeddings [B, Q, D] and token ids [B, T] -> logits [B, K, V].
//
//   ids -> embedding -> prefix in front -> + positions -> layers x (norm, attention, +, norm, MLP, +) -> norm -> LM head
//
// Zhang et al. 2022 (arXiv 2205.01068); transformers' modeling_opt.py. OPT-350m is post-norm: it norms each residual
// sum instead of each input (`do_layer_norm_before` false). S = Q + T, the positions of this run.

import { z } from 'zod'
import type { DecoderDescription } from '../artifact/contract.ts'
import type { Value } from '../onnx/graph.ts'
import { activation, eosTokenId, layers, size, tokenId } from './config.ts'
import { type DecoderInputs, type DecoderOutputs, keptPositions, vocabularyOf } from './decoder.ts'
import { fusedLinear, type LayerKV, layerNorm, linear, mlp, multiHeadAttention } from './layers.ts'
import { causalMask, countedPositions, lastPositions, maskedBias } from './masks.ts'
import type { Part } from './part.ts'

/** torch's default, which modeling_opt.py does not change. */
const LAYER_NORM_EPSILON = 1e-5
/** Positions start at row 2 of the table; a leftover of fairseq (OPTLearnedPositionalEmbedding). */
const POSITION_OFFSET = 2
/** `text_config`; defaults are those of configuration_opt.py. */
export const optConfig = z
  .object({
    vocab_size: size.default(50272),
    hidden_size: size.default(768),
    num_hidden_layers: layers.default(12),
    ffn_dim: size.default(3072),
    max_position_embeddings: size.default(2048),
    do_layer_norm_before: z.boolean().default(true),
    _remove_final_layer_norm: z.boolean().default(false),
    word_embed_proj_dim: size.nullish(),
    num_attention_heads: size.default(12),
    activation_function: activation.default('relu'),
    // An absent pad_token_id or eos_token_id means the default; null means that the model has none.
    pad_token_id: tokenId.nullable().default(1),
    bos_token_id: tokenId.nullish().transform((id) => id ?? 2),
    eos_token_id: eosTokenId.default(2),
    enable_bias: z.boolean().default(true),
    layer_norm_elementwise_affine: z.boolean().default(true),
    tie_word_embeddings: z.boolean().default(true),
  })
  .transform((text) => ({ ...text, word_embed_proj_dim: text.word_embed_proj_dim ?? text.hidden_size }))
export type OptConfig = z.output<typeof optConfig>

/**
 * These token ids come from config.json alone. generate() of BLIP-2 calls that of its language model, which does not read
 * the checkpoint's generation_config.json (transformers 5.18, modeling_blip_2.py line 1820).
 */
export function describeOpt(config: OptConfig, image_token_id: number | null): DecoderDescription {
  const { bos_token_id, pad_token_id, eos_token_id, hidden_size, num_attention_heads: heads } = config
  return {
    kind: 'decoder',
    width: hidden_size,
    vocabulary: config.vocab_size,
    layers: config.num_hidden_layers,
    heads,
    head_size: hidden_size / heads,
    positions: config.max_position_embeddings,
    bos_token_id,
    pad_token_id,
    eos_token_id: [eos_token_id ?? []].flat(),
    image_token_id,
  }
}

/** `part` is at `language_model`. */
export function opt(part: Part, inputs: DecoderInputs, config: OptConfig): DecoderOutputs {
  const { vocab_size: V, hidden_size: D, tie_word_embeddings: isTied } = config
  const decoder = part.at('model.decoder')
  const vocabulary = vocabularyOf(part, {
    embedding: 'model.decoder.embed_tokens',
    sizes: [V, D],
    isTied,
  })
  const tokens = vocabulary.embed(inputs.ids) // [B, T, D]
  const embeds = decoder.op('Concat', [inputs.prefix, tokens], { axis: 1 }) // [B, S, D]
  const length = decoder.op('Shape', [embeds], { start: 1, end: 2 }) // [1]
  const placed = positions(decoder.at('embed_positions'), inputs.mask, length, config) // [B, S, D]
  const masked = decoder.at('causal_bias')
  const bias = maskedBias(masked, masked.g.scalar(0), causalMask(masked, inputs.mask, length)) // [B, 1, S, C + S]

  let x = decoder.op('Add', [embeds, placed]) // [B, S, D]
  const added: LayerKV[] = []
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const output = layer(decoder.at(`layers.${i}`), x, bias, inputs.past[i]!, config)
    x = output.x // [B, S, D]
    added.push(output.added)
  }

  const last = keptPositions(decoder, x, inputs.keep) // [B, K, D]
  const hasFinalNorm = config.do_layer_norm_before && !config._remove_final_layer_norm
  const normed = hasFinalNorm ? norm(decoder.at('final_layer_norm'), last, config) : last // [B, K, D]
  return { logits: vocabulary.project(normed), hidden: normed, added } // logits [B, K, V]
}

/** mask [B, C + S] -> the rows of the table at each position of this run [B, S, D] */
function positions(part: Part, mask: Value, length: Value, config: OptConfig): Value {
  const { g } = part
  const table = part.parameter('weight', [
    config.max_position_embeddings + POSITION_OFFSET,
    config.hidden_size,
  ])
  const index = g.op('Add', [countedPositions(part, mask), g.int64(POSITION_OFFSET - 1)]) // [B, C + S]
  return g.op('Gather', [table, lastPositions(part, index, length)]) // [B, S, D]
}

/** x [B, S, D] -> x [B, S, D], and this run's keys and values [B, S, D] each. */
function layer(
  part: Part,
  x: Value,
  bias: Value,
  past: LayerKV,
  config: OptConfig,
): { x: Value; added: LayerKV } {
  const { hidden_size: D, ffn_dim: F, do_layer_norm_before: before, enable_bias } = config
  const withBias = { bias: enable_bias }
  const attention = part.at('self_attn')
  const firstNorm = part.at('self_attn_layer_norm')
  const secondNorm = part.at('final_layer_norm')
  smoothChannels(part, config)
  const input = before ? norm(firstNorm, x, config) : x // [B, S, D]
  const [q, k, v] = fusedLinear(attention, ['q_proj', 'k_proj', 'v_proj'], input, [D, D], withBias) // 3 x [B, S, D]
  const attended = multiHeadAttention(attention, q!, k!, v!, config.num_attention_heads, { bias, past }) // [B, S, D]
  const projected = linear(attention.at('out_proj'), attended, [D, D], withBias) // [B, S, D]
  const sum = part.op('Add', [x, projected]) // [B, S, D]
  const middle = before ? sum : norm(firstNorm, sum, config) // [B, S, D]

  const normed = before ? norm(secondNorm, middle, config) : middle // [B, S, D]
  const wide = mlp(part, normed, ['fc1', 'fc2'], [D, F], config.activation_function, withBias) // [B, S, D]
  const end = part.op('Add', [middle, wide]) // [B, S, D]
  return { x: before ? end : norm(secondNorm, end, config), added: { key: k!, value: v! } }
}

/** Which channels of a layer are read by products alone. In a post-norm layer the residual sum reads those of the norms too. */
function smoothChannels(
  { weights }: Part,
  { do_layer_norm_before: before, activation_function: activation }: OptConfig,
): void {
  const both = (step: string) => [`${step}.weight`, `${step}.bias`]
  if (before) {
    const inputs = ['q_proj', 'k_proj', 'v_proj'].map((step) => `self_attn.${step}.weight`)
    weights.smooth(both('self_attn_layer_norm'), inputs)
    weights.smooth(both('final_layer_norm'), ['fc1.weight'])
  }
  // ReLU(x / factor) = ReLU(x) / factor: factors pass through it.
  if (activation === 'relu') weights.smooth(both('fc1'), ['fc2.weight'])
  else weights.separate(both('fc1'), ['fc2.weight'])
}

/** x [B, S, D] -> [B, S, D] */
function norm(part: Part, x: Value, config: OptConfig): Value {
  return layerNorm(part, x, config.hidden_size, LAYER_NORM_EPSILON, config.layer_norm_elementwise_affine)
}
