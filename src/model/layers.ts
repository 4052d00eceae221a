// The parts that all three graphs are drawn from: linear, layer norm, activation, attention, table.
//
// Each takes the graph at its address, the values that come in and the weights at their path, and returns the value
// that goes out. Operators are onnxruntime's fused ones (docs/ContribOperators.md) wherever there is one.

import type { Activation } from '../checkpoint/config.ts'
import type { Weight, Weights } from '../checkpoint/weights.ts'
import { type Graph, type InitializerTensor, MICROSOFT, type Value } from '../onnx/graph.ts'
import { type BlockFormat, largestBlockThatDivides, toBlocks } from '../quantize/blocks.ts'
import { toFloat32 } from '../quantize/kernels.ts'
import { type Matrix, stack } from '../quantize/matrix.ts'
import { toPerChannel } from '../quantize/per-channel.ts'

/** A weight stored as float32. */
export function asFloat32({ dims, sources, rows }: Matrix): InitializerTensor {
  return {
    type: 'float32',
    dims,
    sources,
    async *bytes() {
      for await (const values of rows()) yield toFloat32(values)
    },
  }
}

/** x [..., in] -> [..., out], by the checkpoint's `weight` [out, in] and, if it has one, `bias` [out]. */
export function linear(
  g: Graph,
  x: Value,
  weights: Weights,
  [inputs, outputs]: [number, number],
  { bias: hasBias = true } = {},
): Value {
  const product = matmul(g, x, weights.take('weight', [outputs, inputs]))
  if (!hasBias) return product
  return g.op('Add', [product, g.initializer('bias', asFloat32(weights.take('bias', [outputs])))])
}

/** Several linear parts of the same x and sizes in one product -> one value [..., out] each. */
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
    product = g.op('Add', [product, g.initializer('bias', asFloat32(biases))])
  }
  return g.ops('Split', [product, g.int64(...parts.map(() => outputs))], parts.length, { axis: -1 })
}

/** x [..., in] times the turned-over weight [out, in], in the format the recipe gives the weight. */
export function matmul(g: Graph, x: Value, weight: Weight): Value {
  switch (weight.format.kind) {
    case 'float32':
      return matmulFloat32(g, x, g.initializer('weight', asFloat32(weight)))
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

/** A weight in blocks, in the graph. */
interface StoredBlocks {
  packed: Value
  scales: Value
  zeros?: Value
}

function storedBlocks(g: Graph, weight: Weight, format: BlockFormat): StoredBlocks {
  const { packed, scales, zeros } = toBlocks(weight, format)
  return {
    packed: g.initializer('weight', packed),
    scales: g.initializer('scales', scales),
    zeros: zeros && g.initializer('zeros', zeros),
  }
}

function matmulBlocks(
  g: Graph,
  x: Value,
  { packed, scales, zeros }: StoredBlocks,
  [outputs = 0, inputs = 0]: readonly number[],
  { bits, block }: BlockFormat,
): Value {
  // Level 4: activations become 8 bits in blocks of their own, so an outlier spoils only its block.
  const attributes = { N: outputs, K: inputs, bits, block_size: block, accuracy_level: 4 }
  return g.op('MatMulNBits', [x, packed, scales, ...(zeros ? [zeros] : [])], attributes, MICROSOFT)
}

/** One table [V, D] that turns ids into vectors and, tied, vectors into scores of ids; stored once. */
export interface TiedEmbedding {
  /** ids [...] -> [..., D] */
  embed(g: Graph, ids: Value): Value
  /** x [..., D] -> [..., V] */
  project(g: Graph, x: Value): Value
}

export function tiedEmbedding(g: Graph, weight: Weight): TiedEmbedding {
  const [rows = 0, width = 0] = weight.dims
  const format = weight.format.kind === 'blocks' ? largestBlockThatDivides(width, weight.format) : undefined
  // GatherBlockQuantized has no partly filled blocks.
  if (format && width % format.block === 0) {
    const stored = storedBlocks(g, weight, format)
    const { packed, scales, zeros } = stored
    const flat = g.view(packed, [rows, (width * format.bits) / 8])
    return {
      embed: (at, ids) =>
        at.op(
          'GatherBlockQuantized',
          [flat, ids, scales, ...(zeros ? [zeros] : [])],
          { gather_axis: 0, quantize_axis: 1, block_size: format.block, bits: format.bits },
          MICROSOFT,
        ),
      project: (at, x) => matmulBlocks(at, x, stored, weight.dims, format),
    }
  }
  const stored = g.initializer('weight', asFloat32(weight))
  return {
    embed: (at, ids) => at.op('Gather', [stored, ids]),
    project: (at, x) => matmulFloat32(at, x, stored),
  }
}

/** x [..., D] -> [..., D]; a checkpoint may leave out weight and bias (`affine` false). */
export function layerNorm(
  g: Graph,
  x: Value,
  weights: Weights,
  width: number,
  epsilon: number,
  affine = true,
): Value {
  const scale = affine ? asFloat32(weights.take('weight', [width])) : constant(width, 1)
  const inputs = [x, g.initializer('weight', scale)]
  if (affine) inputs.push(g.initializer('bias', asFloat32(weights.take('bias', [width]))))
  return g.op('LayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } })
}

function constant(width: number, value: number): InitializerTensor {
  return {
    type: 'float32',
    dims: [width],
    sources: [],
    async *bytes() {
      yield new Uint8Array(new Float32Array(width).fill(value).buffer)
    },
  }
}

export function activate(g: Graph, x: Value, kind: Activation): Value {
  switch (kind) {
    case 'gelu':
    case 'gelu_python':
      return g.op('Gelu', [x], { approximate: 'none' })
    case 'gelu_10': {
      const clipped = g.op('Min', [g.op('Gelu', [x], { approximate: 'none' }), g.scalar(10)])
      return g.op('Max', [clipped, g.scalar(-10)])
    }
    case 'gelu_new':
    case 'gelu_pytorch_tanh':
    case 'gelu_python_tanh':
    case 'gelu_accurate':
    case 'gelu_fast':
      return g.op('Gelu', [x], { approximate: 'tanh' })
    case 'relu':
      return g.op('Relu', [x])
    case 'relu2': {
      const positive = g.op('Relu', [x])
      return g.op('Mul', [positive, positive])
    }
    case 'relu6':
      return g.op('Min', [g.op('Relu', [x]), g.scalar(6)])
    case 'leaky_relu':
      return g.op('LeakyRelu', [x], { alpha: { float: 0.01 } })
    case 'quick_gelu':
      return g.op('QuickGelu', [x], { alpha: { float: 1.702 } }, MICROSOFT)
    case 'silu':
    case 'swish':
      return g.op('Mul', [x, g.op('Sigmoid', [x])])
    case 'hardswish':
      return g.op('HardSwish', [x])
    case 'mish':
      return g.op('Mish', [x])
    case 'sigmoid':
      return g.op('Sigmoid', [x])
    case 'tanh':
      return g.op('Tanh', [x])
    case 'linear':
      return x
  }
}

/** Keys and values: of the tokens before [B, heads, C, D / heads] each, of these tokens [B, S, D] each. */
export interface LayerKV {
  key: Value
  value: Value
}

/**
 * softmax(q k^T / sqrt(D / heads) + bias) v, by head.
 * q [B, S, D]; k, v [B, T, D]; bias [B or 1, 1, S, C + T] -> [B, S, D].
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
  // With a past the operator wants somewhere to put past and present together; nothing reads it.
  const [output] = g.ops('MultiHeadAttention', inputs, causal ? 3 : 1, { num_heads: heads }, MICROSOFT)
  return output!
}
