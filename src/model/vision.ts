// The vision tower: pixels [B, 3, H, W] -> vision [B, P, D], one vector for each patch and one for the class token.
//
//   pixels -> patches -> class token in front -> + positions -> layers x (norm, attention, +, norm, MLP, +) -> norm
//
// EVA-CLIP's ViT: transformers' modeling_blip_2.py (Blip2VisionModel); Li et al. 2023, section 3.1.

import { z } from 'zod'
import { VISION } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { filled, type Matrix, stack } from '../quantize/matrix.ts'
import { activation, layers, sides, size } from './config.ts'
import { layerNorm, layerNormOf, linear, matmul, mlp, multiHeadAttention } from './layers.ts'
import { graphOf, Part } from './part.ts'

/** `vision_config`; defaults are those of configuration_blip_2.py. */
export const visionConfig = z.object({
  hidden_size: size.default(1408),
  intermediate_size: size.default(6144),
  num_hidden_layers: layers.default(39),
  num_attention_heads: size.default(16),
  image_size: sides.default([224, 224]),
  patch_size: sides.default([14, 14]),
  hidden_act: activation.default('gelu'),
  layer_norm_eps: z.number().positive().default(1e-6),
  qkv_bias: z.boolean().default(true),
})
export type VisionConfig = z.output<typeof visionConfig>

/** The graph `vision`: pixels [B, 3, H, W] -> vision [B, P, D]. */
export function visionGraph(weights: Weights, config: VisionConfig): Graph {
  return graphOf(VISION.graph, weights, (root) => {
    const pixels = root.g.input(VISION.pixels, 'float32', ['B', 3, ...config.image_size])
    const { patches, pooled } = vision(root.at('vision_model'), pixels, config)
    const { hidden_size: D } = config
    root.g.output(VISION.vision, patches, 'float32', ['B', patchCount(config), D])
    root.g.output(VISION.pooled, pooled, 'float32', ['B', D])
  })
}

const LAST_NORM = 'post_layernorm'

/** Adds the output `matching_vision` [B, P, D]: what the last layer gives, normed with the last norm of other weights. */
export function addMatchingNorm(graph: Graph, weights: Weights, config: VisionConfig): void {
  const { hidden_size: D, layer_norm_eps } = config
  const norm = graph.parts.nodes.find(({ name }) => name === `vision_model.${LAST_NORM}/LayerNormalization`)
  const part = new Part(
    graph.scope(`${VISION.matching}.${LAST_NORM}`),
    weights.at(`vision_model.${LAST_NORM}`),
  )
  const normed = layerNorm(part, { name: norm!.input[0]! }, D, layer_norm_eps) // [R, D]
  const output = part.op('Reshape', [normed, part.g.int64(-1, patchCount(config), D)]) // [B, P, D]
  graph.output(VISION.matching, output, 'float32', ['B', patchCount(config), D])
}

/** P: the whole patches in an image, and the class token. */
export function patchCount({ image_size, patch_size }: VisionConfig): number {
  return Math.floor(image_size[0] / patch_size[0]) * Math.floor(image_size[1] / patch_size[1]) + 1
}

/** patches [B, P, D], and pooled [B, D], which is normed once more. */
function vision(part: Part, pixels: Value, config: VisionConfig): { patches: Value; pooled: Value } {
  let x = embed(part.at('embeddings'), pixels, config) // [B, P, D]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    x = layer(part.at(`encoder.layers.${i}`), x, config) // [B, P, D]
  }
  const norm = layerNormOf(part.at(LAST_NORM), config.hidden_size, config.layer_norm_eps)
  const patches = norm(x) // [B, P, D]
  const first = part.op('Gather', [patches, part.g.scalar(0, 'int64')], { axis: 1 }) // [B, D]
  return { patches, pooled: norm(first) }
}

function embed(part: Part, pixels: Value, config: VisionConfig): Value {
  const { hidden_size: D, patch_size } = config
  const { g } = part
  const patch = part.at('patch_embedding')
  const inputs = [pixels, patch.parameter('weight', [D, 3, ...patch_size]), patch.parameter('bias', [D])]
  const grid = patch.op('Conv', inputs, { strides: patch_size, kernel_shape: patch_size }) // [B, D, H/p, W/p]
  const flat = patch.op('Reshape', [grid, g.int64(0, D, -1)]) // [B, D, P-1]
  const patches = patch.op('Transpose', [flat], { perm: [0, 2, 1] }) // [B, P-1, D]
  const batch = part.op('Shape', [pixels], { start: 0, end: 1 }) // [1]
  const dims = part.op('Concat', [batch, g.int64(1, D)], { axis: 0 }) // [3]
  const classTokens = part.op('Expand', [part.parameter('class_embedding', [1, 1, D]), dims]) // [B, 1, D]
  const all = part.op('Concat', [classTokens, patches], { axis: 1 }) // [B, P, D]
  return part.op('Add', [all, part.parameter('position_embedding', [1, patchCount(config), D])]) // [B, P, D]
}

function layer(part: Part, x: Value, config: VisionConfig): Value {
  const { hidden_size: D, intermediate_size: F, layer_norm_eps } = config
  smoothChannels(part)
  const normed = layerNorm(part.at('layer_norm1'), x, D, layer_norm_eps) // [B, P, D]
  const attended = attention(part.at('self_attn'), normed, config) // [B, P, D]
  const middle = part.op('Add', [x, attended]) // [B, P, D]
  const renormed = layerNorm(part.at('layer_norm2'), middle, D, layer_norm_eps) // [B, P, D]
  const output = mlp(part.at('mlp'), renormed, ['fc1', 'fc2'], [D, F], config.hidden_act) // [B, P, D]
  return part.op('Add', [middle, output]) // [B, P, D]
}

/** Which channels of a layer are read by products alone. Factors do not pass through GELU. */
function smoothChannels({ weights }: Part): void {
  const both = (step: string) => [`${step}.weight`, `${step}.bias`]
  weights.smooth(both('layer_norm1'), ['self_attn.qkv.weight'])
  weights.smooth(both('layer_norm2'), ['mlp.fc1.weight'])
  weights.separate(both('mlp.fc1'), ['mlp.fc2.weight'])
}

function attention(
  part: Part,
  x: Value,
  { hidden_size: D, num_attention_heads, qkv_bias }: VisionConfig,
): Value {
  const qkv = part.at('qkv')
  let joined = matmul(qkv, x, qkv.take('weight', [3 * D, D])) // [B, P, 3D]
  if (qkv_bias) joined = qkv.op('Add', [joined, qkv.stored('bias', qkvBias(part, D))]) // [B, P, 3D]
  const [q, k, v] = qkv.ops('Split', [joined, part.g.int64(D, D, D)], 3, { axis: -1 }) // 3 x [B, P, D]
  const output = multiHeadAttention(part, q!, k!, v!, num_attention_heads) // [B, P, D]
  return linear(part.at('projection'), output, [D, D]) // [B, P, D]
}

/**
 * Keys have no bias. Current checkpoints store zeros for them: `qkv.bias` = (q, 0, v) [3D]. The first checkpoints
 * and those of LAVIS store only `q_bias` [D] and `v_bias` [D].
 */
function qkvBias({ weights }: Part, D: number): Matrix {
  if (weights.has('qkv.bias') || !weights.has('q_bias')) return weights.take('qkv.bias', [3 * D])
  return stack(weights.take('q_bias', [D]), filled(D, 0), weights.take('v_bias', [D]))
}
