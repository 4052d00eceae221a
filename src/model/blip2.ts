// BLIP-2 as three graphs, drawn from a checkpoint's config and weights.
//
//   pixels [B, 3, H, W] -> vision [B, P, Dv] -> queries [B, Q, Dq] -> prefix [B, Q, D], ids [B, T] -> logits [B, K, V]
//
// The letters, in every file of this folder:
//   B batch   H, W the picture's sides   P patches and one for the whole   Q learned queries   T text tokens
//   S = Q + T   K positions whose logits are wanted   V vocabulary   D width of the part at hand   F width of its MLP
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

/** The three graphs in the order data meets them. Throws what Weights.assertAllUsed() throws. */
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
  const seen = vision(g, pixels, weights.at('vision_model'), config)
  g.output(VISION.vision, seen, 'float32', ['B', patchCount(config), config.hidden_size])
  return g
}

function buildQueriesGraph(config: Blip2Config, weights: Weights): Graph {
  const { num_query_tokens: Q, qformer, text } = config
  const visionWidth = config.vision.hidden_size
  const g = Graph.named(QUERIES.graph)
  const seen = g.input(QUERIES.vision, 'float32', ['B', patchCount(config.vision), visionWidth])
  const queryOutput = queries(g, seen, weights, { config: qformer, queryCount: Q, visionWidth }) // [B, Q, Dq]
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
