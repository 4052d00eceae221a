// The vision tower: pixels [B, 3, H, W] -> vision [B, P, D], one vector for each patch and one for the class token.
//
//   pixels -> patches -> class token in front -> + positions -> layers x (norm, attention, +, norm, MLP, +) -> norm
//
// EVA-CLIP's ViT: transformers' modeling_blip_2.py (Blip2VisionModel); Li et al. 2023, section 3.1.

import type { VisionConfig } from '../checkpoint/config.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { filled, type Matrix, stack } from '../quantize/matrix.ts'
import { activate, layerNorm, linear, matmul, multiHeadAttention, parameter } from './layers.ts'

/** pixels [B, 3, H, W] -> [B, P, D]. `weights` is at `vision_model`. */
export function vision(g: Graph, pixels: Value, weights: Weights, config: VisionConfig): Value {
  let x = embed(g.scope('embeddings'), pixels, weights.at('embeddings'), config) // [B, P, D]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    x = layer(g.scope(`layers.${i}`), x, weights.at(`encoder.layers.${i}`), config) // [B, P, D]
  }
  const { hidden_size: D, layer_norm_eps } = config
  return layerNorm(g.scope('post_layernorm'), x, weights.at('post_layernorm'), D, layer_norm_eps) // [B, P, D]
}

/** P: the whole patches in an image, and the class token. */
export function patchCount({ image_size, patch_size }: VisionConfig): number {
  return Math.floor(image_size[0] / patch_size[0]) * Math.floor(image_size[1] / patch_size[1]) + 1
}

function embed(g: Graph, pixels: Value, weights: Weights, config: VisionConfig): Value {
  const { hidden_size: D, patch_size } = config
  const P = patchCount(config)
  const patch = weights.at('patch_embedding')
  const kernel = parameter(g, 'patch_embedding.weight', patch.take('weight', [D, 3, ...patch_size]))
  const bias = parameter(g, 'patch_embedding.bias', patch.take('bias', [D]))
  const grid = g.op('Conv', [pixels, kernel, bias], { strides: patch_size, kernel_shape: patch_size }) // [B, D, H/p, W/p]
  const flat = g.op('Reshape', [grid, g.int64(0, D, -1)]) // [B, D, P-1]
  const patches = g.op('Transpose', [flat], { perm: [0, 2, 1] }) // [B, P-1, D]
  const classToken = parameter(g, 'class_embedding', weights.take('class_embedding', [1, 1, D]))
  const batch = g.op('Shape', [pixels], { start: 0, end: 1 }) // [1]
  const classTokens = g.op('Expand', [classToken, g.op('Concat', [batch, g.int64(1, D)], { axis: 0 })]) // [B, 1, D]
  const all = g.op('Concat', [classTokens, patches], { axis: 1 }) // [B, P, D]
  const positions = parameter(g, 'position_embedding', weights.take('position_embedding', [1, P, D]))
  return g.op('Add', [all, positions]) // [B, P, D]
}

function layer(g: Graph, x: Value, weights: Weights, config: VisionConfig): Value {
  const { hidden_size: D, intermediate_size: F, layer_norm_eps } = config
  const normed = layerNorm(g.scope('layer_norm1'), x, weights.at('layer_norm1'), D, layer_norm_eps) // [B, P, D]
  const attended = attention(g.scope('self_attn'), normed, weights.at('self_attn'), config) // [B, P, D]
  const middle = g.scope('self_attn').op('Add', [x, attended]) // [B, P, D]

  const renormed = layerNorm(g.scope('layer_norm2'), middle, weights.at('layer_norm2'), D, layer_norm_eps) // [B, P, D]
  const wide = linear(g.scope('mlp.fc1'), renormed, weights.at('mlp.fc1'), [D, F]) // [B, P, F]
  const active = activate(g.scope('mlp'), wide, config.hidden_act) // [B, P, F]
  const narrow = linear(g.scope('mlp.fc2'), active, weights.at('mlp.fc2'), [F, D]) // [B, P, D]
  return g.scope('mlp').op('Add', [middle, narrow]) // [B, P, D]
}

function attention(g: Graph, x: Value, weights: Weights, config: VisionConfig): Value {
  const { hidden_size: D } = config
  const qkv = g.scope('qkv')
  let joined = matmul(qkv, x, weights.take('qkv.weight', [3 * D, D])) // [B, P, 3D]
  if (config.qkv_bias) joined = qkv.op('Add', [joined, parameter(qkv, 'bias', qkvBias(weights, D))]) // [B, P, 3D]
  const [q, k, v] = g.ops('Split', [joined, g.int64(D, D, D)], 3, { axis: -1 }) // 3 x [B, P, D]
  const output = multiHeadAttention(g, q!, k!, v!, config.num_attention_heads) // [B, P, D]
  return linear(g.scope('projection'), output, weights.at('projection'), [D, D]) // [B, P, D]
}

/**
 * Keys have no bias. Current checkpoints store zeros for them: `qkv.bias` = (q, 0, v) [3D]. The first checkpoints
 * and those of LAVIS store only `q_bias` [D] and `v_bias` [D].
 */
function qkvBias(weights: Weights, D: number): Matrix {
  if (weights.has('qkv.bias') || !weights.has('q_bias')) return weights.take('qkv.bias', [3 * D])
  return stack(weights.take('q_bias', [D]), filled(D, 0), weights.take('v_bias', [D]))
}
