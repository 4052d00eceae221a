// Layers that all three graphs are built from: linear, tied embedding, layer norm, activation, attention.
//
// Each takes the graph at its scope, its inputs and the weights at their path, and returns its output. Where
// onnxruntime has a fused operator (docs/ContribOperators.md in its repository), the layer uses it.

import type { Activation } from '../checkpoint/config.ts'
import type { Weight, Weights } from '../checkpoint/weights.ts'
import { type Graph, MICROSOFT, type Value } from '../onnx/graph.ts'
import { type BlockFormat, largestBlockThatDivides, toBlocks } from '../quantize/blocks.ts'
import { toFloat32 } from '../quantize/kernels.ts'
import { filled, type Matrix, stack } from '../quantize/matrix.ts'
import { toPerChannel } from '../quantize/per-channel.ts'

/** A weight as a float32 initializer of the same dims. */
export function parameter(g: Graph, name: string, { dims, sources, rows }: Matrix): Value {
  async function* bytes() {
    for await (const values of rows()) yield toFloat32(values)
  }
  return g.initializer(name, { type: 'float32', dims, sources, bytes })
}

/** x [..., in] -> [..., out] = x weight^T + bias; the checkpoint stores `weight` [out, in] and `bias` [out]. */
export function linear(
  g: Graph,
  x: Value,
  weights: Weights,
  sizes: [inputs: number, outputs: number],
  options?: { bias: boolean },
): Value {
  return fusedLinear(g, x, [weights], sizes, options)[0]!
}

/** Several linear layers of the same x [..., in] and sizes as one product -> one value [..., out] for each. */
export function fusedLinear(
  g: Graph,
  x: Value,
  parts: readonly Weights[],
  [inputs, outputs]: [number, number],
  { bias: hasBias = true } = {},
): Value[] {
  const weights = parts.map((part) => part.take('weight', [outputs, inputs]))
  let product = matmul(g, x, { ...stack(...weights), format: weights[0]!.format }) // [..., parts * out]
  if (hasBias) {
    const biases = stack(...parts.map((part) => part.take('bias', [outputs])))
    product = g.op('Add', [product, parameter(g, 'bias', biases)]) // [..., parts * out]
  }
  if (parts.length === 1) return [product]
  const sizes = g.int64(...parts.map(() => outputs))
  return g.ops('Split', [product, sizes], parts.length, { axis: -1 }) // parts x [..., out]
}

/** x [..., in] times the transposed weight [out, in] -> [..., out]. The recipe's format decides the operator. */
export function matmul(g: Graph, x: Value, weight: Weight): Value {
  switch (weight.format.kind) {
    case 'float32':
      return matmulFloat32(g, x, parameter(g, 'weight', weight))
    case 'columns': {
      const { values, scales } = toPerChannel(weight)
      const inputs = [x, g.initializer('weight', values), g.initializer('scales', scales)]
      return g.op('DynamicQuantizeMatMul', inputs, {}, MICROSOFT)
    }
    case 'blocks': {
      const format = largestBlockThatDivides(weight.dims[1]!, weight.format)
      return matmulBlocks(g, x, storedBlocks(g, weight, format), weight.dims, format)
    }
  }
}

function matmulFloat32(g: Graph, x: Value, weight: Value): Value {
  return g.op('FusedMatMul', [x, weight], { transB: 1 }, MICROSOFT)
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
  embed(g: Graph, ids: Value): Value
  /** x [..., D] -> [..., V] */
  project(g: Graph, x: Value): Value
}

/** Uses the weight in blocks where whole blocks fill D, else in float32. */
export function tiedEmbedding(g: Graph, weight: Weight): TiedEmbedding {
  const [rows = 0, width = 0] = weight.dims
  const format = weight.format.kind === 'blocks' ? largestBlockThatDivides(width, weight.format) : undefined
  // GatherBlockQuantized takes no partly filled block.
  if (format && width % format.block === 0) {
    const stored = storedBlocks(g, weight, format)
    const [packed, ...scalesAndZeros] = stored
    const flat = g.view(packed!, [rows, (width * format.bits) / 8])
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: format.block, bits: format.bits }
    return {
      embed: (at, ids) =>
        at.op('GatherBlockQuantized', [flat, ids, ...scalesAndZeros], attributes, MICROSOFT),
      project: (at, x) => matmulBlocks(at, x, stored, weight.dims, format),
    }
  }
  const stored = parameter(g, 'weight', weight)
  return {
    embed: (at, ids) => at.op('Gather', [stored, ids]),
    project: (at, x) => matmulFloat32(at, x, stored),
  }
}

/** x [..., D] -> [..., D]. With `affine` false the checkpoint has no weight and no bias. */
export function layerNorm(
  g: Graph,
  x: Value,
  weights: Weights,
  width: number,
  epsilon: number,
  affine = true,
): Value {
  const inputs = [x, parameter(g, 'weight', affine ? weights.take('weight', [width]) : filled(width, 1))]
  if (affine) inputs.push(parameter(g, 'bias', weights.take('bias', [width])))
  return g.op('LayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } })
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

/** Keys and values of one layer: from the cache [B, heads, C, D / heads] each, from this run [B, S, D] each. */
export interface LayerKV {
  key: Value
  value: Value
}

/**
 * softmax(q k^T / sqrt(D / heads) + bias) v for each head. q [B, S, D]; k, v [B, T, D] -> [B, S, D].
 * `causal.bias` is [B or 1, 1, S, C + T]; `causal.past` [B, heads, C, D / heads] is put before k and v.
 */
export function multiHeadAttention(
  g: Graph,
  q: Value,
  k: Value,
  v: Value,
  heads: number,
  causal?: { bias: Value; past: LayerKV },
): Value {
  const inputs = causal
    ? [q, k, v, undefined, undefined, causal.bias, causal.past.key, causal.past.value]
    : [q, k, v]
  // With a past the operator has two more outputs, past and present joined. Nothing reads them.
  const [output] = g.ops('MultiHeadAttention', inputs, causal ? 3 : 1, { num_heads: heads }, MICROSOFT)
  return output!
}
