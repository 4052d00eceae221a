// The graphs `encoder` and `language` of an encoder-decoder: their inputs and outputs, whatever the models between them.
//
//   encoder    prefix [B, Q, D], input_ids [B, T], mask [B, Q + T] -> encoder [B, S, D], keys and values [B, S, heads * head size]
//   language   input_ids [B, T], mask [B, C + T], KV cache, keys and values of the encoder [P, heads, S, head size]
//                -> logits [B, K, V], keys and values of this run [B, T, heads * head size]
//
// The encoder computes the keys and values that the decoder's layers attend to, so that a prompt has them once, however many
// tokens and beams follow. P prompts, S = Q + T positions of the encoder.

import { CROSS, ENCODER, type EncoderDecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { DATA_TYPE } from '../onnx/proto.ts'
import type { DecoderOutputs } from './decoder.ts'
import type { LayerKV } from './layers.ts'
import { graphOf, type Part } from './part.ts'

export interface EncoderInputs {
  /** [B, Q, D] */
  prefix: Value
  /** [B, T] */
  ids: Value
  /** int32 [B, Q + T] */
  keyMask: Value
}

export interface EncoderOutputs {
  /** [B, Q + T, D] */
  encoder: Value
  /** For each layer of the decoder, [B, Q + T, heads * head size] each. */
  cross: LayerKV[]
}

/** `build` makes the model between inputs and outputs. */
export function encoderGraph(
  weights: Weights,
  { width, heads, head_size }: EncoderDecoderDescription,
  build: (root: Part, inputs: EncoderInputs) => EncoderOutputs,
): Graph {
  return graphOf(ENCODER.graph, weights, (root) => {
    const { g } = root
    const prefix = g.input(ENCODER.prefix, 'float32', ['B', 'Q', width])
    const ids = g.input(ENCODER.input_ids, 'int64', ['B', 'T'])
    const mask = g.input(ENCODER.attention_mask, 'int64', ['B', 'Q + T'])
    const keyMask = g.op('Cast', [mask], { to: DATA_TYPE.int32 }) // [B, Q + T]
    const { encoder, cross } = build(root, { prefix, ids, keyMask })
    g.output(ENCODER.encoder, encoder, 'float32', ['B', 'Q + T', width])
    cross.forEach(({ key, value }, i) => {
      g.output(ENCODER.crossKey(i), key, 'float32', ['B', 'Q + T', heads * head_size])
      g.output(ENCODER.crossValue(i), value, 'float32', ['B', 'Q + T', heads * head_size])
    })
  })
}

/** What the decoder attends to in the encoder. */
interface CrossInputs {
  /** For each layer, [P, heads, S, head size] each. */
  layers: LayerKV[]
  /** int32 [P, S] */
  keyMask: Value
  /** [B, T, width] -> [P, W * T, width]: the rows of a prompt one after another. */
  gather(x: Value, width: number): Value
  /** [P, W * T, width] -> [B, T, width] */
  scatter(x: Value, width: number): Value
}

export interface CrossDecoderInputs {
  /** [B, T] */
  ids: Value
  /** [B, C + T] */
  mask: Value
  /** K, shape [] */
  keep: Value
  /** For each layer, [B, heads, C, head size] each. */
  past: LayerKV[]
  cross: CrossInputs
}

/** `build` makes the model between inputs and outputs. */
export function crossDecoderGraph(
  weights: Weights,
  { layers, heads, head_size, vocabulary }: EncoderDecoderDescription,
  build: (root: Part, inputs: CrossDecoderInputs) => DecoderOutputs,
): Graph {
  return graphOf(LANGUAGE.graph, weights, (root) => {
    const { g } = root
    const ids = g.input(LANGUAGE.input_ids, 'int64', ['B', 'T'])
    const mask = g.input(LANGUAGE.attention_mask, 'int64', ['B', 'C + T'])
    const keep = g.input(LANGUAGE.logits_to_keep, 'int64', [])
    const caches = (dims: (string | number)[], names: Pick<typeof CROSS, 'key' | 'value'>) =>
      Array.from({ length: layers }, (_, i) => ({
        key: g.input(names.key(i), 'float32', dims),
        value: g.input(names.value(i), 'float32', dims),
      }))
    const past = caches(['B', heads, 'C', head_size], { key: LANGUAGE.pastKey, value: LANGUAGE.pastValue })
    const cross = crossInputs(root.at('cross'), caches(['P', heads, 'S', head_size], CROSS), ids)
    const { logits, added } = build(root, { ids, mask, keep, past, cross })
    g.output(LANGUAGE.logits, logits, 'float32', ['B', 'K', vocabulary])
    added.forEach(({ key, value }, i) => {
      g.output(LANGUAGE.newKey(i), key, 'float32', ['B', 'T', heads * head_size])
      g.output(LANGUAGE.newValue(i), value, 'float32', ['B', 'T', heads * head_size])
    })
  })
}

/**
 * The rows of a prompt attend as one row that is W times as long, because cross-attention has neither positions nor order.
 */
function crossInputs({ g }: Part, layers: LayerKV[], ids: Value): CrossInputs {
  const mask = g.input(CROSS.mask, 'int64', ['P', 'S'])
  const fromZero = (index: Value) => g.op('Sub', [index, g.scalar(1, 'int64')])
  const rows = fromZero(g.input(CROSS.rows, 'int64', ['P', 'W']))
  const places = fromZero(g.input(CROSS.places, 'int64', ['B']))
  const length = g.op('Shape', [ids], { start: 1, end: 2 }) // [1]
  return {
    layers,
    keyMask: g.op('Cast', [mask], { to: DATA_TYPE.int32 }), // [P, S]
    gather: (x, width) => g.op('Reshape', [g.op('Gather', [x, rows]), g.int64(0, -1, width)]), // [P, W * T, width]
    scatter(x, width) {
      const dims = g.op('Concat', [g.int64(-1), length, g.int64(width)], { axis: 0 }) // [3]
      return g.op('Gather', [g.op('Reshape', [x, dims]), places]) // [B, T, width]
    },
  }
}
