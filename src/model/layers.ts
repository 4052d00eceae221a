// Layers that the graphs are built from: linear, MLP, tied embedding, layer norm, activation, attention.
//
// Each takes the part of the model that it is, its inputs and its sizes, and returns its output. Where onnxruntime has a
// fused operator (docs/ContribOperators.md in its repository), the layer uses it.

import type { Weight } from '../checkpoint/weights.ts'
import { type Graph, MICROSOFT, type Value } from '../onnx/graph.ts'
import { type BlockFormat, largestBlockThatDivides, toBlocks } from '../quantize/blocks.ts'
import { filled, stack } from '../quantize/matrix.ts'
import { toPerChannel } from '../quantize/per-channel.ts'
import type { Activation } from './config.ts'
import type { Part } from './part.ts'

/** [inputs, outputs] */
type Sizes = [number, number]

/**
 * x [..., in] -> [..., out] = x weight^T + bias; the checkpoint stores `weight` [out, in] and `bias` [out]. `input` is the
 * activation that made x, if one did.
 */
export function linear(
  part: Part,
  x: Value,
  [inputs, outputs]: Sizes,
  { bias = true, input, unfused = false }: LinearOptions = {},
): Value {
  const product = matmul(part, x, part.take('weight', [outputs, inputs]), input) // [..., out]
  if (!bias) return product
  const dims = unfused ? [1, outputs] : [outputs]
  return part.op('Add', [product, part.stored('bias', { ...part.take('bias', [outputs]), dims })]) // [..., out]
}

interface LinearOptions {
  /** Default: true. */
  bias?: boolean
  input?: Activation
  /**
   * Gives the bias a shape that onnxruntime does not fuse with a Gelu behind it. BiasGelu took 1.6 ms in a layer of ViT-g, Add and
   * Gelu 0.8 ms (257 patches, two cores with AVX-512). Default: false.
   */
  unfused?: boolean
}

/** Several linear layers of the same x [..., in] and sizes, named by `steps`, as one product -> one value [..., out] for each. */
export function fusedLinear(
  parent: Part,
  steps: readonly string[],
  x: Value,
  [inputs, outputs]: Sizes,
  { bias: hasBias = true } = {},
): Value[] {
  const parts = steps.map((step) => parent.at(step))
  const fused = parent.at(steps.join('+'))
  const weights = parts.map((part) => part.take('weight', [outputs, inputs]))
  let product = matmul(fused, x, stacked(weights)) // [..., steps * out]
  if (hasBias) {
    const biases = stack(...parts.map((part) => part.take('bias', [outputs])))
    product = fused.op('Add', [product, fused.stored('bias', biases)]) // [..., steps * out]
  }
  const sizes = fused.g.int64(...steps.map(() => outputs))
  return fused.ops('Split', [product, sizes], steps.length, { axis: -1 }) // steps x [..., out]
}

/** Weights of the same x as one. They were smoothed together, so their large channels are the same. */
function stacked(weights: readonly Weight[]): Weight {
  const { format, large } = weights[0]!
  const largeWeights = weights.flatMap((weight) => weight.large?.weight ?? [])
  return {
    ...stack(...weights),
    format,
    ...(large && { large: { ...large, weight: stack(...largeWeights) } }),
  }
}

/** down(activation(up(x))): x [..., D] -> [..., F] -> [..., D]. `steps` name the two linear layers. */
export function mlp(
  part: Part,
  x: Value,
  [up, down]: [up: string, down: string],
  [D, F]: Sizes,
  activation: Activation,
  options?: { bias: boolean },
): Value {
  const wide = linear(part.at(up), x, [D, F], { ...options, unfused: true }) // [..., F]
  const active = activate(part.at(up).g, wide, activation) // [..., F]
  return linear(part.at(down), active, [F, D], { ...options, input: activation }) // [..., D]
}

/**
 * x [..., in] times the transposed weight [out, in] -> [..., out]. The recipe's format decides the operator. `input` is the
 * activation that made x, if one did.
 *
 *   x -> product
 *   x -> large channels [..., L] -> product in float32 -> +
 */
export function matmul(part: Part, x: Value, weight: Weight, input?: Activation): Value {
  const { large } = weight
  if (!large) return matmulOf(part, x, weight, input)
  const rest = large.mask ? part.op('Mul', [x, part.stored('large.mask', large.mask)]) : x // [..., in]
  const product = matmulOf(part, rest, weight, input) // [..., out]
  const channels = part.g.initializer('large.channels', large.channels)
  const picked = part.op('Gather', [x, channels], { axis: -1 }) // [..., L]
  const added = matmulFloat32(part.g, picked, part.stored('large.weight', large.weight)) // [..., out]
  return part.op('Add', [product, added]) // [..., out]
}

function matmulOf(part: Part, x: Value, weight: Weight, input?: Activation): Value {
  const { g } = part
  switch (weight.format.kind) {
    case 'float32':
      return matmulFloat32(g, x, part.stored('weight', weight))
    case 'tokens':
      return matmulTokens(g, x, weight, input && FEW_NEGATIVE.has(input) ? LOW_ZERO_POINT : ZERO_POINT)
    case 'blocks': {
      const format = largestBlockThatDivides(weight.dims[1]!, weight.format)
      return matmulBlocks(g, x, storedBlocks(g, weight, format), weight.dims, format)
    }
  }
}

function matmulFloat32(g: Graph, x: Value, weight: Value): Value {
  return g.op('FusedMatMul', [x, weight], { transB: 1 }, MICROSOFT)
}

/** The level of 0 among the 256 of an activation, which are unsigned. */
const ZERO_POINT = 128
/**
 * The same after an activation that makes few and small negative values: positive values get 1.76 times as many levels. Rows
 * whose largest value is below 4 times the size of their smallest one get fewer.
 */
const LOW_ZERO_POINT = 32
const FEW_NEGATIVE: ReadonlySet<Activation> = new Set([
  ...(['gelu', 'gelu_python', 'gelu_10', 'gelu_new', 'gelu_pytorch_tanh', 'gelu_python_tanh'] as const),
  ...(['gelu_accurate', 'gelu_fast', 'quick_gelu', 'silu', 'swish', 'relu', 'relu2', 'relu6'] as const),
])
const LAST_LEVEL = 255
/** Scales of rows that hold only zeros, so that nothing is divided by zero. */
const SMALLEST_SCALE = 1e-30

/**
 * x [..., in] times the transposed weight [out, in] -> [..., out]. Each row of x is quantized to 8 bits with a scale of its
 * own, so a row's result does not depend on the other rows. R is the number of rows.
 *
 *   x -> its largest and smallest value -> scales [R, 1]
 *   x, scales -> 8 bits -> product of integers, times the scales of the weight -> times scales
 */
function matmulTokens(g: Graph, input: Value, weight: Weight, zeroPoint: number): Value {
  const rowAxis = g.int64(-1)
  const [outputs = 0, inputs = 0] = weight.dims
  const x = g.op('Reshape', [input, g.int64(-1, inputs)]) // [R, in]
  const above = g.op('Mul', [g.op('ReduceMax', [x, rowAxis]), g.scalar(1 / (LAST_LEVEL - zeroPoint))]) // [R, 1]
  const below = g.op('Mul', [g.op('ReduceMin', [x, rowAxis]), g.scalar(-1 / zeroPoint)]) // [R, 1]
  const scales = g.op('Max', [above, below, g.scalar(SMALLEST_SCALE)]) // [R, 1]
  const scaleOfRow = g.op('Reshape', [scales, rowAxis]) // [R]
  const zero = g.scalar(zeroPoint, 'uint8') // []
  const zeroOfRow = g.op('Expand', [zero, g.op('Shape', [scaleOfRow])]) // [R]
  const levels = g.op('QuantizeLinear', [x, scaleOfRow, zeroOfRow], { axis: 0 }) // uint8 [R, in]
  const { values, scales: scaleOfOutput } = toPerChannel(weight)
  const stored = [g.initializer('weight', values), g.scalar(1), g.initializer('scales', scaleOfOutput)]
  const product = g.op('MatMulIntegerToFloat', [levels, ...stored, zero], {}, MICROSOFT) // [R, out]
  const result = g.op('Mul', [product, scales]) // [R, out]
  const dims = g.op('Concat', [g.op('Shape', [input], { start: 0, end: -1 }), g.int64(outputs)], { axis: 0 })
  return g.op('Reshape', [result, dims]) // [..., out]
}

/** Initializers of a weight in blocks: packed values, scales, zero points if there are any. Layout: quantize/blocks.ts. */
function storedBlocks(g: Graph, weight: Weight, format: BlockFormat): Value[] {
  const { packed, scales, zeros } = toBlocks(weight, format)
  const stored = [g.initializer('weight', packed), g.initializer('scales', scales)]
  return zeros ? [...stored, g.initializer('zeros', zeros)] : stored
}

/** x [..., K] times the transposed weight [N, K] in blocks -> [..., N]; N and K are MatMulNBits' names. */
function matmulBlocks(
  g: Graph,
  x: Value,
  stored: Value[],
  [N = 0, K = 0]: number[],
  format: BlockFormat,
): Value {
  // Level 4: the operator quantizes activations to 8 bits by block, so an outlier affects its own block only.
  const attributes = { N, K, bits: format.bits, block_size: format.block, accuracy_level: 4 }
  return g.op('MatMulNBits', [x, ...stored], attributes, MICROSOFT)
}

/** One weight [V, D] as input embedding and, if tied, as LM head. It is stored once. */
export interface TiedEmbedding {
  /** ids [...] -> [..., D] */
  embed(ids: Value): Value
  /** x [..., D] -> [..., V]; its node is at `head`. */
  project(head: Part, x: Value): Value
}

/** Uses the weight in blocks where whole blocks fill D, else in float32. `part` names the weight. */
export function tiedEmbedding(part: Part, weight: Weight): TiedEmbedding {
  const { g } = part
  const [rows = 0, width = 0] = weight.dims
  const format = weight.format.kind === 'blocks' ? largestBlockThatDivides(width, weight.format) : undefined
  // GatherBlockQuantized takes no partly filled block.
  if (format && width % format.block === 0) {
    const stored = storedBlocks(g, weight, format)
    const [packed, ...scalesAndZeros] = stored
    const flat = g.view(packed!, [rows, (width * format.bits) / 8])
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: format.block, bits: format.bits }
    return {
      embed: (ids) => g.op('GatherBlockQuantized', [flat, ids, ...scalesAndZeros], attributes, MICROSOFT),
      project: (head, x) => matmulBlocks(head.g, x, stored, weight.dims, format),
    }
  }
  const stored = part.stored('weight', weight)
  return {
    embed: (ids) => g.op('Gather', [stored, ids]),
    project: (head, x) => matmulFloat32(head.g, x, stored),
  }
}

/** x [..., D] -> [..., D]. With `affine` false the checkpoint has no weight and no bias. */
export function layerNorm(part: Part, x: Value, width: number, epsilon: number, affine = true): Value {
  return layerNormOf(part, width, epsilon, affine)(x)
}

/** A layer norm for several values: its weight and bias are stored once. */
export function layerNormOf(part: Part, width: number, epsilon: number, affine = true): (x: Value) => Value {
  const weight = affine ? part.parameter('weight', [width]) : part.stored('weight', filled(width, 1))
  const parameters = affine ? [weight, part.parameter('bias', [width])] : [weight]
  return (x) => part.op('LayerNormalization', [x, ...parameters], { axis: -1, epsilon: { float: epsilon } })
}

/** x * weight / sqrt(mean of x^2 + epsilon): x [..., D] -> [..., D]. T5 and LLaMA's norm, without mean and bias. */
export function rmsNorm(part: Part, x: Value, width: number, epsilon: number): Value {
  const inputs = [x, part.parameter('weight', [width])]
  return part.op('SimplifiedLayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } })
}

const gelu = (approximate: 'none' | 'tanh') => (g: Graph, x: Value) => g.op('Gelu', [x], { approximate })
const operator = (type: string) => (g: Graph, x: Value) => g.op(type, [x])
const silu = (g: Graph, x: Value) => g.op('Mul', [x, g.op('Sigmoid', [x])])

const ACTIVATIONS: Record<Activation, (g: Graph, x: Value) => Value> = {
  gelu: gelu('none'),
  gelu_python: gelu('none'),
  gelu_10: (g, x) => g.op('Max', [g.op('Min', [gelu('none')(g, x), g.scalar(10)]), g.scalar(-10)]),
  gelu_new: gelu('tanh'),
  gelu_pytorch_tanh: gelu('tanh'),
  gelu_python_tanh: gelu('tanh'),
  gelu_accurate: gelu('tanh'),
  gelu_fast: gelu('tanh'),
  relu: operator('Relu'),
  relu2: (g, x) => {
    const positive = g.op('Relu', [x])
    return g.op('Mul', [positive, positive])
  },
  relu6: (g, x) => g.op('Min', [g.op('Relu', [x]), g.scalar(6)]),
  leaky_relu: (g, x) => g.op('LeakyRelu', [x], { alpha: { float: 0.01 } }),
  quick_gelu: (g, x) => g.op('QuickGelu', [x], { alpha: { float: 1.702 } }, MICROSOFT),
  silu,
  swish: silu,
  hardswish: operator('HardSwish'),
  mish: operator('Mish'),
  sigmoid: operator('Sigmoid'),
  tanh: operator('Tanh'),
  linear: (_, x) => x,
}

/** x -> same shape. The names are those of transformers' ACT2FN. */
export function activate(g: Graph, x: Value, kind: Activation): Value {
  return ACTIVATIONS[kind](g, x)
}

/** Keys and values of one layer: from the cache [B, heads, C, head size] each, from this run [B, S, D] each. */
export interface LayerKV {
  key: Value
  value: Value
}

export interface AttentionOptions {
  /** [B or 1, 1 or heads, S, C + T], added to the scores. */
  bias?: Value
  /** [B, heads, C, head size], put before k and v. */
  past?: LayerKV
  /** int32 [B, T]: 0 at keys that no position attends to. */
  keyMask?: Value
  /** The factor of q k^T. Default: 1 / sqrt(head size). */
  scale?: number
}

/**
 * softmax(scale q k^T + bias) v for each head. q [B, S, D]; k, v [B, T, D] or [B, heads, T, head size] -> [B, S, D].
 */
export function multiHeadAttention(
  part: Part,
  q: Value,
  k: Value,
  v: Value,
  heads: number,
  { bias, past, keyMask, scale }: AttentionOptions = {},
): Value {
  const inputs = [q, k, v, undefined, keyMask, bias, past?.key, past?.value]
  while (inputs.at(-1) === undefined) inputs.pop()
  // With a past the operator has two more outputs, past and present joined. Nothing reads them.
  const attributes = { num_heads: heads, ...(scale !== undefined && { scale: { float: scale } }) }
  const [output] = part.ops('MultiHeadAttention', inputs, past ? 3 : 1, attributes, MICROSOFT)
  return output!
}
