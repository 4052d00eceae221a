// The Q-Former: vision [B, P, Dv] -> queries [B, Q, D], the image as Q vectors.
//
//   learned queries -> norm -> layers x (self-attention, in every n-th layer cross-attention to the image, MLP)
//
// Post-norm as in BERT: each residual sum is normed. The Q-Former reads no text in this graph, so its output does not
// depend on the question. transformers' modeling_blip_2.py (Blip2QFormerModel); Li et al. 2023, section 3.1, figure 2.

import type { QFormerConfig } from '../checkpoint/config.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { activate, fusedLinear, layerNorm, linear, multiHeadAttention, parameter } from './layers.ts'

export interface QuerySizes {
  config: QFormerConfig
  /** Q */
  queryCount: number
  /** Dv */
  visionWidth: number
}

/** vision [B, P, Dv] -> [B, Q, D]. `weights` is at the checkpoint's root: it holds `query_tokens` beside `qformer`. */
export function queries(g: Graph, vision: Value, weights: Weights, sizes: QuerySizes): Value {
  const { config, queryCount: Q } = sizes
  const { hidden_size: D, layer_norm_eps } = config
  const qformer = weights.at('qformer')
  const learned = parameter(g, 'query_tokens', weights.take('query_tokens', [1, Q, D]))
  const normed = layerNorm(g.scope('layernorm'), learned, qformer.at('layernorm'), D, layer_norm_eps) // [1, Q, D]
  const batch = g.op('Shape', [vision], { start: 0, end: 1 }) // [1]
  let x = g.op('Expand', [normed, g.op('Concat', [batch, g.int64(Q, D)], { axis: 0 })]) // [B, Q, D]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const hasCrossAttention = i % config.cross_attention_frequency === 0
    const source = hasCrossAttention ? vision : null
    x = layer(g.scope(`layers.${i}`), x, source, qformer.at(`encoder.layer.${i}`), sizes) // [B, Q, D]
  }
  return x
}

function layer(
  g: Graph,
  x: Value,
  vision: Value | null,
  weights: Weights,
  { config, visionWidth }: QuerySizes,
): Value {
  const { hidden_size: D, intermediate_size: F, layer_norm_eps } = config
  let hidden = attention(g.scope('attention'), x, x, weights.at('attention'), D, config) // [B, Q, D]
  if (vision) {
    const cross = g.scope('crossattention')
    hidden = attention(cross, hidden, vision, weights.at('crossattention'), visionWidth, config) // [B, Q, D]
  }
  const wide = linear(g.scope('intermediate_query'), hidden, weights.at('intermediate_query.dense'), [D, F]) // [B, Q, F]
  const active = activate(g.scope('intermediate_query'), wide, config.hidden_act) // [B, Q, F]
  const narrow = linear(g.scope('output_query'), active, weights.at('output_query.dense'), [F, D]) // [B, Q, D]
  const sum = g.scope('output_query').op('Add', [narrow, hidden]) // [B, Q, D]
  if (config.use_qformer_text_input) ignoreTextBranch(weights)
  return layerNorm(g.scope('output_query'), sum, weights.at('output_query.LayerNorm'), D, layer_norm_eps) // [B, Q, D]
}

/** x [B, Q, D] attends to `source` [B, S, sourceWidth], which is x in self-attention -> [B, Q, D]. */
function attention(
  g: Graph,
  x: Value,
  source: Value,
  weights: Weights,
  sourceWidth: number,
  { hidden_size: D, num_attention_heads, layer_norm_eps }: QFormerConfig,
): Value {
  const [query, key, value] = ['query', 'key', 'value'].map((step) => weights.at(`attention.${step}`))
  const [q, k, v] =
    source === x
      ? fusedLinear(g.scope('qkv'), x, [query!, key!, value!], [D, D]) // 3 x [B, Q, D]
      : [
          linear(g.scope('query'), x, query!, [D, D]), // [B, Q, D]
          ...fusedLinear(g.scope('keyvalue'), source, [key!, value!], [sourceWidth, D]), // 2 x [B, S, D]
        ]
  const output = multiHeadAttention(g, q!, k!, v!, num_attention_heads) // [B, Q, D]
  const projected = linear(g.scope('output'), output, weights.at('output.dense'), [D, D]) // [B, Q, D]
  const sum = g.scope('output').op('Add', [projected, x]) // [B, Q, D]
  return layerNorm(g.scope('output'), sum, weights.at('output.LayerNorm'), D, layer_norm_eps) // [B, Q, D]
}

/** The MLP for text tokens. Graphs without text do not use it. */
function ignoreTextBranch(weights: Weights): void {
  for (const step of ['intermediate.dense', 'output.dense', 'output.LayerNorm']) {
    weights.ignore(`${step}.weight`)
    weights.ignore(`${step}.bias`)
  }
}
