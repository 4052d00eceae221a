// T5, the language model: image embeddings [B, Q, D] and prompt [B, T] -> encoder -> keys and values for the decoder, which
// writes another text: token ids [B, T] -> logits [B, K, V].
//
//   encoder   ids -> embedding -> prefix in front -> blocks x (norm, attention, +, norm, MLP, +) -> norm
//   decoder   ids -> embedding -> blocks x (norm, attention, +, norm, cross-attention, +, norm, MLP, +) -> norm -> LM head
//
// Attention is not scaled. Positions are a bias of the scores by the distance of key and query, one table for all blocks of
// a stack. Raffel et al. 2020 (arXiv 1910.10683); transformers' modeling_t5.py. Flan-T5 is T5 1.1: a gated MLP and an
// untied LM head. E = heads * head size, which need not be D.

import { z } from 'zod'
import type { EncoderDecoderDescription } from '../artifact/contract.ts'
import type { Weight, Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { ACTIVATIONS, activation, eosTokenId, layers, size, tokenId } from './config.ts'
import { type DecoderOutputs, keptPositions } from './decoder.ts'
import {
  type CrossDecoderInputs,
  crossDecoderGraph,
  type EncoderInputs,
  type EncoderOutputs,
  encoderGraph,
} from './encoder-decoder.ts'
import {
  type AttentionOptions,
  activate,
  fusedLinear,
  type LayerKV,
  linear,
  matmul,
  mlp,
  multiHeadAttention,
  rmsNorm,
  tiedEmbedding,
} from './layers.ts'
import { causalMask, countedPositions, lastPositions, maskedBias } from './masks.ts'
import type { Part } from './part.ts'

/** T5's scores are q k^T: the initialisation of its weights makes up for the factor (Raffel et al., section 2.1). */
const SCALE = 1
/** Far more than a prompt has. A table of each distance is stored in the graph. */
const MAX_DISTANCE = 32_768
const NO_BIAS = { bias: false }

/** `text_config`; defaults are those of configuration_t5.py. */
export const t5Config = z
  .object({
    vocab_size: size.default(32128),
    d_model: size.default(512),
    d_kv: size.default(64),
    d_ff: size.default(2048),
    num_layers: layers.default(6),
    num_decoder_layers: layers.nullish(),
    num_heads: size.default(8),
    // One bucket for equal positions and one for others, in each direction.
    relative_attention_num_buckets: size.min(4).default(32),
    relative_attention_max_distance: size.max(MAX_DISTANCE).default(128),
    layer_norm_epsilon: z.number().positive().default(1e-6),
    feed_forward_proj: z
      .string()
      .default('relu')
      .transform((text) => /^(?<gated>gated-)?(?<name>[^-]+)$/.exec(text)?.groups)
      .pipe(
        z.object(
          { gated: z.string().optional(), name: activation },
          `Expected one of ${ACTIVATIONS.join(', ')}, or gated- and one of them`,
        ),
      ),
    // transformers makes these two of feed_forward_proj; in a file they come before it.
    dense_act_fn: activation.nullish(),
    is_gated_act: z.boolean().nullish(),
    tie_word_embeddings: z.boolean().nullish(),
    scale_decoder_outputs: z.boolean().nullish(),
    /** The longest text that T5 was trained with. transformers has no limit. */
    n_positions: size.default(512),
    // An absent pad_token_id or eos_token_id means the default; null means that the model has none.
    pad_token_id: tokenId.nullable().default(0),
    bos_token_id: tokenId.nullish(),
    eos_token_id: eosTokenId.default(1),
    decoder_start_token_id: tokenId.nullish(),
  })
  .transform(({ feed_forward_proj: { gated, name }, ...text }) => ({
    ...text,
    num_decoder_layers: text.num_decoder_layers ?? text.num_layers,
    is_gated_act: text.is_gated_act ?? gated !== undefined,
    // By "gated-gelu" T5 1.1 means the tanh approximation. BLIP-2 was trained with the exact one, and its files say so.
    dense_act_fn: text.dense_act_fn ?? (gated && name === 'gelu' ? 'gelu_new' : name),
    /**
     * Files of transformers 4 say it by tie_word_embeddings. Those of transformers 5 say that all are tied, and have
     * scale_decoder_outputs. Neither tells whether the LM head has weights of its own: the file's tensors do.
     */
    scale_decoder_outputs: text.scale_decoder_outputs ?? text.tie_word_embeddings !== false,
    decoder_start_token_id: text.decoder_start_token_id ?? text.bos_token_id ?? text.pad_token_id ?? 0,
    bos_token_id: text.bos_token_id ?? [text.eos_token_id ?? 1].flat()[0]!,
    /** Whether the decoder's embedding differs from the encoder's, which config.json does not tell. */
    ownDecoderEmbedding: false,
  }))
  .superRefine((text, context) => {
    const { relative_attention_num_buckets: buckets, relative_attention_max_distance: most } = text
    const exact = Math.floor(buckets / 2)
    if (most > exact) return
    context.addIssue(
      `relative_attention_max_distance ${most} is not above ${exact}, half of relative_attention_num_buckets ${buckets}`,
    )
  })
export type T5Config = z.output<typeof t5Config>

/** `queries`: Q. These token ids come from config.json alone, as describeOpt says. */
export function describeT5(
  config: T5Config,
  queries: number,
  image_token_id: number | null,
): EncoderDecoderDescription {
  const { bos_token_id, pad_token_id, eos_token_id, decoder_start_token_id } = config
  return {
    kind: 'encoder-decoder',
    width: config.d_model,
    vocabulary: config.vocab_size,
    layers: config.num_decoder_layers,
    heads: config.num_heads,
    head_size: config.d_kv,
    positions: queries + config.n_positions,
    bos_token_id,
    pad_token_id,
    eos_token_id: [eos_token_id ?? []].flat(),
    image_token_id,
    decoder_start_token_id,
  }
}

/** The graphs `encoder` and `language`. `language`: the description of this config, by describeT5. */
export function t5Graphs(weights: Weights, config: T5Config, language: EncoderDecoderDescription): Graph[] {
  const at = (root: Part) => root.at('language_model')
  return [
    encoderGraph(weights, language, (root, inputs) => t5Encoder(at(root), inputs, config)),
    crossDecoderGraph(weights, language, (root, inputs) => t5Decoder(at(root), inputs, config)),
  ]
}

/** `part` is at `language_model`. */
function t5Encoder(part: Part, { prefix, ids, keyMask }: EncoderInputs, config: T5Config): EncoderOutputs {
  const { d_model: D, num_heads, d_kv, num_decoder_layers } = config
  const stack = part.at('encoder')
  const [name, shared] = sharedEmbedding(part, config)
  const tokens = tiedEmbedding(part.at(name), shared).embed(ids) // [B, T, D]
  let x = stack.op('Concat', [prefix, tokens], { axis: 1 }) // [B, S, D]

  const length = stack.op('Squeeze', [stack.op('Shape', [x], { start: 1, end: 2 })]) // []
  const places = stack.op('Range', [stack.g.scalar(0, 'int64'), length, stack.g.scalar(1, 'int64')]) // [S]
  const all = stack.op('Unsqueeze', [places, stack.g.int64(0)]) // [1, S]
  const bias = distanceBias(stack, all, all, config, true) // [1, heads, S, S]
  for (let i = 0; i < config.num_layers; i++) {
    const block = stack.at(`block.${i}`)
    x = selfAttention(block.at('layer.0'), x, config, { bias, keyMask }).x // [B, S, D]
    x = feedForward(block.at('layer.1'), x, config) // [B, S, D]
  }
  const encoder = norm(stack.at('final_layer_norm'), x, config) // [B, S, D]

  const cross = Array.from({ length: num_decoder_layers }, (_, i) => {
    const attention = part.at(`decoder.block.${i}.layer.1.EncDecAttention`)
    const [key, value] = fusedLinear(attention, ['k', 'v'], encoder, [D, num_heads * d_kv], NO_BIAS) // 2 x [B, S, E]
    return { key: key!, value: value! }
  })
  return { encoder, cross }
}

/** `part` is at `language_model`. */
function t5Decoder(
  part: Part,
  { ids, mask, keep, past, cross }: CrossDecoderInputs,
  config: T5Config,
): DecoderOutputs {
  const { d_model: D, vocab_size: V } = config
  const stack = part.at('decoder')
  // Releases before transformers 4 stored a table that they did not read.
  stack.weights.ignore('block.0.layer.1.EncDecAttention.relative_attention_bias.weight')
  const { name, weight, isShared } = decoderEmbedding(part, config)
  const embedding = tiedEmbedding(part.at(name), weight)
  let x = embedding.embed(ids) // [B, T, D]

  const length = stack.op('Shape', [ids], { start: 1, end: 2 }) // [1]
  const keys = countedPositions(stack, mask) // [B, C + T]
  const distances = distanceBias(stack, lastPositions(stack, keys, length), keys, config, false) // [B, heads, T, C + T]
  const bias = maskedBias(stack, distances, causalMask(stack, mask, length)) // [B, heads, T, C + T]
  const added: LayerKV[] = []
  for (let i = 0; i < config.num_decoder_layers; i++) {
    const block = stack.at(`block.${i}`)
    const attended = selfAttention(block.at('layer.0'), x, config, { bias, past: past[i]! })
    added.push(attended.added)
    x = crossAttention(block.at('layer.1'), attended.x, cross, i, config) // [B, T, D]
    x = feedForward(block.at('layer.2'), x, config) // [B, T, D]
  }

  const normed = norm(stack.at('final_layer_norm'), keptPositions(stack, x, keep), config) // [B, K, D]
  const last = config.scale_decoder_outputs ? stack.op('Mul', [normed, stack.g.scalar(D ** -0.5)]) : normed // [B, K, D]
  // Where a file has no lm_head, its head is the shared embedding.
  const [headName, head] = part.weights.has('lm_head.weight')
    ? ['lm_head', part.take('lm_head.weight', [V, D])]
    : sharedEmbedding(part, config)
  const isTied = isShared && headName === name
  const logits = isTied ? embedding.project(part.at('lm_head'), last) : matmul(part.at(headName), last, head) // [B, K, V]
  return { logits, added }
}

/**
 * The encoder's embedding and the name of its part. transformers ties shared, encoder.embed_tokens, decoder.embed_tokens and
 * lm_head by value: each of them that a file lacks is one that it has. BLIP-2 reads the prompt by `shared`.
 */
function sharedEmbedding(part: Part, { vocab_size: V, d_model: D }: T5Config): [string, Weight] {
  const names = ['shared', 'encoder.embed_tokens', 'decoder.embed_tokens', 'lm_head']
  const name = names.find((one) => part.weights.has(`${one}.weight`)) ?? 'shared'
  part.weights.ignore('encoder.embed_tokens.weight')
  return [name, part.take(`${name}.weight`, [V, D])]
}

/** `isShared`: it is the encoder's too. */
function decoderEmbedding(part: Part, config: T5Config): { name: string; weight: Weight; isShared: boolean } {
  const { vocab_size: V, d_model: D, ownDecoderEmbedding } = config
  const [name, shared] = sharedEmbedding(part, config)
  const own = 'decoder.embed_tokens'
  if (name === own || !part.weights.has(`${own}.weight`)) return { name, weight: shared, isShared: true }
  if (ownDecoderEmbedding) return { name: own, weight: part.take(`${own}.weight`, [V, D]), isShared: false }
  const weight = part.weights.takeTied(`${name}.weight`, `${own}.weight`, [V, D])
  return { name, weight, isShared: true }
}

/** What the distance of each key from each query adds to the scores. queries [N, S], keys [N, L] -> [N, heads, S, L] */
function distanceBias(
  stack: Part,
  queries: Value,
  keys: Value,
  config: T5Config,
  isBidirectional: boolean,
): Value {
  const { relative_attention_num_buckets: buckets, relative_attention_max_distance: most, num_heads } = config
  const part = stack.at('block.0.layer.0.SelfAttention.relative_attention_bias')
  const { g } = part
  const weight = part.parameter('weight', [buckets, num_heads])
  // Keys that come later are masked in a decoder.
  const last = isBidirectional ? most : 0
  const bucketOf = g.int64(...bucketsOfDistances(-most, last, config, isBidirectional)) // [most + last + 1]
  const queryColumn = g.op('Unsqueeze', [queries, g.int64(2)]) // [N, S, 1]
  const keyRow = g.op('Unsqueeze', [keys, g.int64(1)]) // [N, 1, L]
  const distance = g.op('Sub', [keyRow, queryColumn]) // [N, S, L]
  const clipped = g.op('Clip', [distance, g.scalar(-most, 'int64'), g.scalar(last, 'int64')]) // [N, S, L]
  const index = g.op('Add', [clipped, g.scalar(most, 'int64')]) // [N, S, L]
  const table = g.op('Gather', [weight, bucketOf]) // [most + last + 1, heads]
  return g.op('Transpose', [g.op('Gather', [table, index])], { perm: [0, 3, 1, 2] }) // [N, heads, S, L]
}

/**
 * The bucket of each distance (key - query) from `first` to `last`: T5Attention._relative_position_bucket. Half of the
 * buckets hold one distance each, the others grow by a factor, in float32 as torch computes it. All distances of
 * max_distance and more share a bucket.
 */
export function bucketsOfDistances(
  first: number,
  last: number,
  config: Pick<T5Config, 'relative_attention_num_buckets' | 'relative_attention_max_distance'>,
  isBidirectional: boolean,
): number[] {
  const { relative_attention_num_buckets: all, relative_attention_max_distance: most } = config
  const count = isBidirectional ? Math.floor(all / 2) : all
  const exact = Math.floor(count / 2)
  const range = Math.fround(Math.log(most / exact))
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const signed = first + i
    const offset = isBidirectional && signed > 0 ? count : 0
    const distance = isBidirectional ? Math.abs(signed) : Math.max(-signed, 0)
    if (distance < exact) return offset + distance
    const log = Math.fround(Math.log(Math.fround(distance / exact)))
    const steps = Math.trunc(Math.fround(Math.fround(log / range) * (count - exact)))
    return offset + Math.min(exact + steps, count - 1)
  })
}

/** x + attention(norm(x)): x [B, S, D] -> x [B, S, D], and this run's keys and values [B, S, E] each. */
function selfAttention(
  part: Part,
  x: Value,
  config: T5Config,
  options: AttentionOptions,
): { x: Value; added: LayerKV } {
  const { d_model: D, num_heads, d_kv } = config
  const E = num_heads * d_kv
  const attention = part.at('SelfAttention')
  const matrices = ['q', 'k', 'v'].map((step) => `SelfAttention.${step}.weight`)
  part.weights.smooth(['layer_norm.weight'], matrices)
  const normed = norm(part.at('layer_norm'), x, config) // [B, S, D]
  const [q, k, v] = fusedLinear(attention, ['q', 'k', 'v'], normed, [D, E], NO_BIAS) // 3 x [B, S, E]
  const attended = multiHeadAttention(attention, q!, k!, v!, num_heads, { ...options, scale: SCALE }) // [B, S, E]
  const projected = linear(attention.at('o'), attended, [E, D], NO_BIAS) // [B, S, D]
  return { x: part.op('Add', [x, projected]), added: { key: k!, value: v! } }
}

/** x + attention(norm(x), encoder): x [B, T, D] -> [B, T, D] */
function crossAttention(
  part: Part,
  x: Value,
  cross: CrossDecoderInputs['cross'],
  index: number,
  config: T5Config,
): Value {
  const { d_model: D, num_heads, d_kv } = config
  const E = num_heads * d_kv
  const attention = part.at('EncDecAttention')
  part.weights.smooth(['layer_norm.weight'], ['EncDecAttention.q.weight'])
  const q = linear(attention.at('q'), norm(part.at('layer_norm'), x, config), [D, E], NO_BIAS) // [B, T, E]
  const { key, value } = cross.layers[index]!
  const options = { keyMask: cross.keyMask, scale: SCALE }
  const grouped = cross.gather(q, E) // [P, W * T, E]
  const attended = multiHeadAttention(attention, grouped, key, value, num_heads, options) // [P, W * T, E]
  const projected = linear(attention.at('o'), cross.scatter(attended, E), [E, D], NO_BIAS) // [B, T, D]
  return part.op('Add', [x, projected])
}

/** x + MLP(norm(x)): x [B, S, D] -> [B, S, D] */
function feedForward(part: Part, x: Value, config: T5Config): Value {
  const { d_model: D, d_ff: F, dense_act_fn } = config
  const dense = part.at('DenseReluDense')
  smoothChannels(part, config)
  const normed = norm(part.at('layer_norm'), x, config) // [B, S, D]
  if (!config.is_gated_act) {
    return part.op('Add', [x, mlp(dense, normed, ['wi', 'wo'], [D, F], dense_act_fn, NO_BIAS)])
  }
  const [gate, up] = fusedLinear(dense, ['wi_0', 'wi_1'], normed, [D, F], NO_BIAS) // 2 x [B, S, F]
  const gated = dense.op('Mul', [activate(dense.at('wi_0').g, gate!, dense_act_fn), up!]) // [B, S, F]
  return part.op('Add', [x, linear(dense.at('wo'), gated, [F, D], NO_BIAS)])
}

/** Which channels of an MLP are read by products alone. Factors pass through a gate's product and through ReLU. */
function smoothChannels(part: Part, { is_gated_act, dense_act_fn }: T5Config): void {
  const dense = (step: string) => `DenseReluDense.${step}.weight`
  const ups = is_gated_act ? ['wi_0', 'wi_1'] : ['wi']
  part.weights.smooth(['layer_norm.weight'], ups.map(dense))
  if (is_gated_act) part.weights.smooth([dense('wi_1')], [dense('wo')], [dense('wi_0')])
  else if (dense_act_fn === 'relu') part.weights.smooth([dense('wi')], [dense('wo')])
  else part.weights.separate([dense('wi')], [dense('wo')])
}

function norm(part: Part, x: Value, { d_model, layer_norm_epsilon }: T5Config): Value {
  return rmsNorm(part, x, d_model, layer_norm_epsilon)
}
