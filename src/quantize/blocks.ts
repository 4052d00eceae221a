// Rows of weights -> packed integers, scales and zero points, as MatMulNBits and GatherBlockQuantized read them.
//
// Layout (onnxruntime docs/ContribOperators.md, MatMulNBits): [N outputs, blocks of K, block * bits / 8 bytes], two
// 4-bit values to a byte, the first in the low half; scales [N, blocks]; zero points of 4 bits [N, blocks / 2], of 8
// bits none, which stands for 128. A value is (level - zero point) * scale. How levels are chosen: kernels.as.ts.

import type { InitializerTensor } from '../onnx/graph.ts'
import type { Matrix } from './matrix.ts'
import { packInOrder } from './worker-pool.ts'

export interface BlockFormat {
  bits: 4 | 8
  /** A power of two from 16 on. */
  block: number
}

const SMALLEST_BLOCK = 16

/** The same with blocks that `inputs` fill, where there are such: the largest up to the recipe's. */
export function largestBlockThatDivides<F extends BlockFormat>(inputs: number, format: F): F {
  let { block } = format
  while (block > SMALLEST_BLOCK && inputs % block !== 0) block /= 2
  return { ...format, block }
}

export interface Blocks {
  packed: InitializerTensor
  scales: InitializerTensor
  /** Absent with 8 bits. */
  zeros?: InitializerTensor
}

/**
 * `weight` is [N outputs, K inputs]. Scales and zero points are found while `packed` is written, so they come right
 * after it; they live only in between, for all scales together are a fifth of a 4-bit model.
 */
export function toBlocks(weight: Matrix, { bits, block }: BlockFormat): Blocks {
  const [outputs = 0, inputs = 0] = weight.dims
  const { sources } = weight
  const blocks = Math.ceil(inputs / block)
  const found = { scales: [] as Uint8Array[], zeros: [] as Uint8Array[] }
  async function* packed() {
    for await (const piece of packInOrder(weight.rows(), 'blocks', { inputs, bits, block })) {
      found.scales.push(piece.scales)
      found.zeros.push(piece.zeros)
      yield piece.packed
    }
  }
  async function* taken(part: 'scales' | 'zeros') {
    if (found[part].length === 0) throw new Error(`${part} are written after their weights`)
    yield* found[part].splice(0)
  }
  const zeros: InitializerTensor = {
    type: 'uint8',
    dims: [outputs, Math.ceil(blocks / 2)],
    sources,
    bytes: () => taken('zeros'),
  }
  return {
    packed: { type: 'uint8', dims: [outputs, blocks, (block * bits) / 8], sources, bytes: packed },
    scales: { type: 'float32', dims: [outputs, blocks], sources, bytes: () => taken('scales') },
    ...(bits === 4 ? { zeros } : {}),
  }
}
