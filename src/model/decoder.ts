// The graph `language` of a decoder-only language model: its inputs and outputs, whatever the model between them.
//
//   prefix [B, Q or 0, D], input_ids [B, T], mask [B, C + Q + T], KV cache [B, heads, C, head size]
//     -> logits [B, K, V], keys and values of this run [B, Q + T, heads * head size]

import { type DecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { type LayerKV, matmul, type TiedEmbedding, tiedEmbedding } from './layers.ts'
import { graphOf, type Part } from './part.ts'

export interface DecoderInputs {
  /** [B, Q or 0, D] */
  prefix: Value
  /** [B, T] */
  ids: Value
  /** [B, C + Q + T] */
  mask: Value
  /** K, shape [] */
  keep: Value
  /** For each layer, [B, heads, C, head size] each. */
  past: LayerKV[]
}

export interface DecoderOutputs {
  /** [B, K, V] of the last K positions. */
  logits: Value
  /** [B, K, D], what the LM head reads: the text's features. Absent if transformers names none. */
  hidden?: Value
  /** For each layer, keys and values [B, Q + T, heads * head size] to put into the KV cache. */
  added: LayerKV[]
}

/** `build` makes the model between inputs and outputs. */
export function decoderGraph(
  weights: Weights,
  sizes: DecoderDescription,
  build: (root: Part, inputs: DecoderInputs) => DecoderOutputs,
): Graph {
  const { width, heads, head_size, vocabulary } = sizes
  return graphOf(LANGUAGE.graph, weights, (root) => {
    const { g } = root
    const cache = ['B', heads, 'C', head_size]
    const { logits, hidden, added } = build(root, {
      prefix: g.input(LANGUAGE.prefix, 'float32', ['B', 'Q', width]),
      ids: g.input(LANGUAGE.input_ids, 'int64', ['B', 'T']),
      mask: g.input(LANGUAGE.attention_mask, 'int64', ['B', 'C + Q + T']),
      keep: g.input(LANGUAGE.logits_to_keep, 'int64', []),
      past: Array.from({ length: sizes.layers }, (_, i) => ({
        key: g.input(LANGUAGE.pastKey(i), 'float32', cache),
        value: g.input(LANGUAGE.pastValue(i), 'float32', cache),
      })),
    })
    g.output(LANGUAGE.logits, logits, 'float32', ['B', 'K', vocabulary])
    if (hidden) g.output(LANGUAGE.hidden, hidden, 'float32', ['B', 'K', width])
    added.forEach(({ key, value }, i) => {
      g.output(LANGUAGE.newKey(i), key, 'float32', ['B', 'Q + T', heads * head_size])
      g.output(LANGUAGE.newValue(i), value, 'float32', ['B', 'Q + T', heads * head_size])
    })
  })
}

interface VocabularyOptions {
  /** Where the token embedding is, from the part of the language model. */
  embedding: string
  /** [vocabulary, width] */
  sizes: [number, number]
  isTied: boolean
}

/**
 * Token embedding and LM head of the language model at `part`. Tied, they are one weight, which files have under the name
 * of the embedding, of `lm_head`, or in old files of both.
 */
export function vocabularyOf(
  part: Part,
  { embedding, sizes, isTied }: VocabularyOptions,
): Pick<TiedEmbedding, 'embed'> & { project(x: Value): Value } {
  const head = part.at('lm_head')
  const [inEmbedding, inHead] = [embedding, 'lm_head'].map((step) => part.weights.has(`${step}.weight`))
  const stored = isTied && inHead && !inEmbedding ? 'lm_head' : embedding
  const weight =
    isTied && inHead && inEmbedding
      ? part.weights.takeTied(`${embedding}.weight`, 'lm_head.weight', sizes)
      : part.take(`${stored}.weight`, sizes)
  const table = tiedEmbedding(part.at(stored), weight)
  return {
    embed: table.embed,
    project: (x) => (isTied ? table.project(head, x) : matmul(head, x, head.take('weight', sizes))),
  }
}

/** x [B, S, D] -> its last K positions [B, K, D]. `keep`: K, []. */
export function keptPositions({ g }: Part, x: Value, keep: Value): Value {
  const start = g.op('Neg', [g.op('Unsqueeze', [keep, g.int64(0)])]) // [1]
  return g.op('Slice', [x, start, g.int64(Number.MAX_SAFE_INTEGER), g.int64(1)]) // [B, K, D]
}
