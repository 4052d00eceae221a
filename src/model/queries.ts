// The Q-Former: vision [B, P, Dv] -> queries [B, Q, D], a picture as a handful of vectors.
//
//   learned queries -> norm -> layers x (self-attention, every n-th time a look at the picture, MLP)
//
// BERT-like: each sum is normed after it is made. Li et al. 2023, section 3.1 and figure 2; transformers'
// modeling_blip_2.py (Blip2QFormerModel). Without text, as here, the result does not depend on the question.

import type { QFormerConfig } from '../checkpoint/config.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { activate, asFloat32, fusedLinear, layerNorm, linear, multiHeadAttention } from './layers.ts'

export interface QuerySizes {
  config: QFormerConfig
  /** Q */
  queryCount: number
  /** Dv */
  visionWidth: number
}

/** `weights` at the checkpoint's root: the learned queries stand beside the Q-Former. */
export function queries(g: Graph, vision: Value, weights: Weights, sizes: QuerySizes): Value {
  const { config, queryCount: Q } = sizes
  const { hidden_size: D, layer_norm_eps } = config
  const qformer = weights.at('qformer')
  const learned = g.initializer('query_tokens', asFloat32(weights.take('query_tokens', [1, Q, D])))
  const normed = layerNorm(g.scope('layernorm'), learned, qformer.at('layernorm'), D, layer_norm_eps) // [1, Q, D]
  const batch = g.op('Shape', [vision], { start: 0, end: 1 }) // [1]
  let x = g.op('Expand', [normed, g.op('Concat', [batch, g.int64(Q, D)], { axis: 0 })]) // [B, Q, D]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const hasCrossAttention = i % config.cross_attention_frequency === 0
    x = layer(
      g.scope(`layers.${i}`),
      x,
      hasCrossAttention ? vision : null,
      qformer.at(`encoder.layer.${i}`),
      sizes,
    ) // [B, Q, D]
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
    hidden = attention(
      g.scope('crossattention'),
      hidden,
      vision,
      weights.at('crossattention'),
      visionWidth,
      config,
    ) // [B, Q, D]
  }
  const wide = linear(g.scope('intermediate_query'), hidden, weights.at('intermediate_query.dense'), [D, F]) // [B, Q, F]
  const active = activate(g.scope('intermediate_query'), wide, config.hidden_act) // [B, Q, F]
  const narrow = linear(g.scope('output_query'), active, weights.at('output_query.dense'), [F, D]) // [B, Q, D]
  const sum = g.scope('output_query').op('Add', [narrow, hidden]) // [B, Q, D]
  if (config.use_qformer_text_input) ignoreTextBranch(weights)
  return layerNorm(g.scope('output_query'), sum, weights.at('output_query.LayerNorm'), D, layer_norm_eps) // [B, Q, D]
}

/** x [B, Q, D] looks at `source` [B, S, sourceWidth], which may be x itself -> [B, Q, D]. */
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

/** The MLP that text tokens would go through: nothing here reads text. */
function ignoreTextBranch(weights: Weights): void {
  for (const step of ['intermediate.dense', 'output.dense', 'output.LayerNorm']) {
    weights.ignore(`${step}.weight`)
    weights.ignore(`${step}.bias`)
  }
}
