// A BLIP-2 checkpoint's config and weights -> three ONNX graphs. src/run/ runs what this folder builds.
//
//   pixels [B, 3, H, W] -> vision [B, P, Dv] -> queries [B, Q, Dq] -> prefix [B, Q, D], ids [B, T] -> logits [B, K, V]
//
// Letters of shapes in every file of this folder:
//   B batch   H, W image height and width in pixels   P patches + 1 class token   Q learned queries   T text tokens
//   S = Q + T, positions of this run   C slots of the KV cache   K positions that get logits   V vocabulary size
//   D hidden size of the part (Dv vision tower, Dq Q-Former)   F hidden size of its MLP
//
// Li et al. 2023 (arXiv 2301.12597), figure 1; transformers 5.18, Blip2ForConditionalGeneration.

import { LANGUAGE, QUERIES, VISION } from '../artifact/contract.ts'
import type { Blip2Config } from '../checkpoint/config.ts'
import type { Weights } from '../checkpoint/weights.ts'
import { Graph } from '../onnx/graph.ts'
import { linear } from './layers.ts'
import { opt } from './opt.ts'
import { queries } from './queries.ts'
import { patchCount, vision } from './vision.ts'

/**
 * The graphs `vision`, `queries` and `language`, in the order data passes through them.
 * @throws ArtifactError `wrong_tensors`: missing, misshapen, quantized and unused tensors in one error.
 */
export function buildBlip2Graphs(config: Blip2Config, weights: Weights): Graph[] {
  const graphs = [
    buildVisionGraph(config, weights),
    buildQueriesGraph(config, weights),
    buildLanguageGraph(config, weights),
  ]
  weights.assertAllUsed()
  return graphs
}

function buildVisionGraph({ vision: config }: Blip2Config, weights: Weights): Graph {
  const g = Graph.named(VISION.graph)
  const pixels = g.input(VISION.pixels, 'float32', ['B', 3, ...config.image_size])
  const hidden = vision(g, pixels, weights.at('vision_model'), config) // [B, P, Dv]
  g.output(VISION.vision, hidden, 'float32', ['B', patchCount(config), config.hidden_size])
  return g
}

function buildQueriesGraph(config: Blip2Config, weights: Weights): Graph {
  const { num_query_tokens: Q, qformer, text } = config
  const visionWidth = config.vision.hidden_size
  const g = Graph.named(QUERIES.graph)
  const vision = g.input(QUERIES.vision, 'float32', ['B', patchCount(config.vision), visionWidth])
  const queryOutput = queries(g, vision, weights, { config: qformer, queryCount: Q, visionWidth }) // [B, Q, Dq]
  const projection = weights.at('language_projection')
  const prefix = linear(g.scope('language_projection'), queryOutput, projection, [
    qformer.hidden_size,
    text.hidden_size,
  ]) // [B, Q, D]
  g.output(QUERIES.queries, queryOutput, 'float32', ['B', Q, qformer.hidden_size])
  g.output(QUERIES.prefix, prefix, 'float32', ['B', Q, text.hidden_size])
  return g
}

function buildLanguageGraph({ text }: Blip2Config, weights: Weights): Graph {
  const { hidden_size: D, num_attention_heads: heads } = text
  const g = Graph.named(LANGUAGE.graph)
  const inputs = {
    prefix: g.input(LANGUAGE.prefix, 'float32', ['B', 'Q', D]),
    ids: g.input(LANGUAGE.input_ids, 'int64', ['B', 'T']),
    mask: g.input(LANGUAGE.attention_mask, 'int64', ['B', 'C + S']),
    keep: g.input(LANGUAGE.logits_to_keep, 'int64', []),
    past: Array.from({ length: text.num_hidden_layers }, (_, i) => ({
      key: g.input(LANGUAGE.pastKey(i), 'float32', ['B', heads, 'C', D / heads]),
      value: g.input(LANGUAGE.pastValue(i), 'float32', ['B', heads, 'C', D / heads]),
    })),
  }
  const { logits, added } = opt(g, inputs, weights.at('language_model'), text)
  g.output(LANGUAGE.logits, logits, 'float32', ['B', 'K', text.vocab_size])
  added.forEach(({ key, value }, i) => {
    g.output(LANGUAGE.newKey(i), key, 'float32', ['B', 'S', D])
    g.output(LANGUAGE.newValue(i), value, 'float32', ['B', 'S', D])
  })
  return g
}
