// OPT, the language model: image embeddings [B, Q, D] and token ids [B, T] -> logits [B, K, V].
//
//   ids -> embedding -> prefix in front -> + positions -> layers x (norm, attention, +, norm, MLP, +) -> norm -> LM head
//
// Zhang et al. 2022 (arXiv 2205.01068); transformers' modeling_opt.py. OPT-350m is post-norm: it norms each residual
// sum instead of each input (`do_layer_norm_before` false).

import type { OptConfig } from '../checkpoint/config.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { DATA_TYPE } from '../onnx/proto.ts'
import {
  activate,
  fusedLinear,
  type LayerKV,
  layerNorm,
  linear,
  matmul,
  multiHeadAttention,
  parameter,
  type TiedEmbedding,
  tiedEmbedding,
} from './layers.ts'

/** torch's default, which modeling_opt.py does not change. */
const LAYER_NORM_EPSILON = 1e-5
/** Positions start at row 2 of the table; a leftover of fairseq (OPTLearnedPositionalEmbedding). */
const POSITION_OFFSET = 2
/**
 * Added to masked attention scores. Large enough that softmax gives 0; finite, so that a row of padding alone gives no
 * NaN.
 */
const MASKED = -3e38

export interface OptInputs {
  /** [B, Q or 0, D] */
  prefix: Value
  /** [B, T] */
  ids: Value
  /** [B, C + S] */
  mask: Value
  /** K, shape [] */
  keep: Value
  /** For each layer, [B, heads, C, D / heads] each. */
  past: LayerKV[]
}

/**
 * `logits` [B, K, V] of the last K positions; `added`, for each layer, the keys and values [B, S, D] to put into the
 * KV cache. `weights` is at `language_model`.
 */
export function opt(
  g: Graph,
  inputs: OptInputs,
  weights: Weights,
  config: OptConfig,
): { logits: Value; added: LayerKV[] } {
  const { hidden_size: D, vocab_size: V } = config
  const decoder = weights.at('model.decoder')
  const embedding = vocabulary(g.scope('embed_tokens'), weights, config)
  const tokens = embedding.embed(g.scope('embed_tokens'), inputs.ids) // [B, T, D]
  const embeds = g.op('Concat', [inputs.prefix, tokens], { axis: 1 }) // [B, S, D], S = Q + T
  const length = g.op('Shape', [embeds], { start: 1, end: 2 }) // [1]
  const table = decoder.at('embed_positions')
  const placed = positions(g.scope('embed_positions'), inputs.mask, length, table, config) // [B, S, D]
  const bias = causalBias(g.scope('bias'), inputs.mask, length) // [B, 1, S, C + S]

  let x = g.op('Add', [embeds, placed]) // [B, S, D]
  const added: LayerKV[] = []
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const output = layer(g.scope(`layers.${i}`), x, bias, inputs.past[i]!, decoder.at(`layers.${i}`), config)
    x = output.x // [B, S, D]
    added.push(output.added)
  }

  const start = g.op('Neg', [g.op('Unsqueeze', [inputs.keep, g.int64(0)])]) // [1]
  const last = g.op('Slice', [x, start, g.int64(Number.MAX_SAFE_INTEGER), g.int64(1)]) // [B, K, D]
  const normed =
    config.do_layer_norm_before && !config._remove_final_layer_norm
      ? norm(g, last, decoder, 'final_layer_norm', config)
      : last // [B, K, D]
  const logits = config.tie_word_embeddings
    ? embedding.project(g.scope('lm_head'), normed)
    : matmul(g.scope('lm_head'), normed, weights.take('lm_head.weight', [V, D])) // [B, K, V]
  return { logits, added }
}

/** A tied embedding is stored under `embed_tokens`, under `lm_head`, or in old files under both names. */
function vocabulary(
  g: Graph,
  weights: Weights,
  { vocab_size: V, hidden_size: D, tie_word_embeddings }: OptConfig,
): TiedEmbedding {
  const embed = 'model.decoder.embed_tokens.weight'
  const head = 'lm_head.weight'
  if (!tie_word_embeddings || !weights.has(head)) return tiedEmbedding(g, weights.take(embed, [V, D]))
  if (!weights.has(embed)) return tiedEmbedding(g, weights.take(head, [V, D]))
  return tiedEmbedding(g, weights.takeTied(embed, head, [V, D]))
}

/** A token's position is the count of unmasked positions before it, image embeddings included. mask [B, C + S] -> [B, S, D] */
function positions(g: Graph, mask: Value, length: Value, weights: Weights, config: OptConfig): Value {
  const rows = config.max_position_embeddings + POSITION_OFFSET
  const table = parameter(g, 'weight', weights.take('weight', [rows, config.hidden_size]))
  const counted = g.op('Mul', [g.op('CumSum', [mask, g.scalar(1, 'int64')]), mask]) // [B, C + S]: 1, 2, ..., 0 where masked
  const index = g.op('Add', [counted, g.int64(POSITION_OFFSET - 1)]) // [B, C + S]
  const ofRun = g.op('Slice', [index, g.op('Neg', [length]), g.int64(Number.MAX_SAFE_INTEGER), g.int64(1)]) // [B, S]
  return g.op('Gather', [table, ofRun]) // [B, S, D]
}

/** 0 where a position may attend, MASKED at later positions and at padding. mask [B, C + S] -> [B, 1, S, C + S] */
function causalBias(g: Graph, mask: Value, length: Value): Value {
  const total = g.op('Squeeze', [g.op('Shape', [mask], { start: 1, end: 2 })]) // []
  const first = g.op('Sub', [total, g.op('Squeeze', [length])]) // []
  const one = g.scalar(1, 'int64')
  const columns = g.op('Range', [g.scalar(0, 'int64'), total, one]) // [C + S]
  const rows = g.op('Unsqueeze', [g.op('Range', [first, total, one]), g.int64(1)]) // [S, 1]
  const before = g.op('LessOrEqual', [columns, rows]) // [S, C + S]
  const real = g.op('Unsqueeze', [g.op('Cast', [mask], { to: DATA_TYPE.bool }), g.int64(1, 2)]) // [B, 1, 1, C + S]
  const allowed = g.op('And', [before, real]) // [B, 1, S, C + S]
  return g.op('Where', [allowed, g.scalar(0), g.scalar(MASKED)]) // [B, 1, S, C + S]
}

/** x [B, S, D] -> x [B, S, D], and this run's keys and values [B, S, D] each. */
function layer(
  g: Graph,
  x: Value,
  bias: Value,
  past: LayerKV,
  weights: Weights,
  config: OptConfig,
): { x: Value; added: LayerKV } {
  const { hidden_size: D, ffn_dim: F, do_layer_norm_before: before, enable_bias } = config
  const withBias = { bias: enable_bias }
  const attn = g.scope('self_attn')
  const own = weights.at('self_attn')
  const input = before ? norm(g, x, weights, 'self_attn_layer_norm', config) : x // [B, S, D]
  const qkv = ['q_proj', 'k_proj', 'v_proj'].map((step) => own.at(step))
  const [q, k, v] = fusedLinear(attn.scope('qkv'), input, qkv, [D, D], withBias) // 3 x [B, S, D]
  const attended = multiHeadAttention(attn, q!, k!, v!, config.num_attention_heads, { bias, past }) // [B, S, D]
  const projected = linear(attn.scope('out_proj'), attended, own.at('out_proj'), [D, D], withBias) // [B, S, D]
  const sum = attn.op('Add', [x, projected]) // [B, S, D]
  const middle = before ? sum : norm(g, sum, weights, 'self_attn_layer_norm', config) // [B, S, D]

  const normed = before ? norm(g, middle, weights, 'final_layer_norm', config) : middle // [B, S, D]
  const wide = linear(g.scope('fc1'), normed, weights.at('fc1'), [D, F], withBias) // [B, S, F]
  const active = activate(g.scope('fc1'), wide, config.activation_function) // [B, S, F]
  const narrow = linear(g.scope('fc2'), active, weights.at('fc2'), [F, D], withBias) // [B, S, D]
  const end = g.scope('fc2').op('Add', [middle, narrow]) // [B, S, D]
  const output = before ? end : norm(g, end, weights, 'final_layer_norm', config) // [B, S, D]
  return { x: output, added: { key: k!, value: v! } }
}

/** The layer norm at `step`, which is its scope and the path of its weights. x [B, S, D] -> [B, S, D] */
function norm(g: Graph, x: Value, weights: Weights, step: string, config: OptConfig): Value {
  const { hidden_size: D, layer_norm_elementwise_affine: affine } = config
  return layerNorm(g.scope(step), x, weights.at(step), D, LAYER_NORM_EPSILON, affine)
}
