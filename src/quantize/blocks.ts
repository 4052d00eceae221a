// A weight [N outputs, K inputs] -> packed integers, scales and zero points for MatMulNBits and GatherBlockQuantized.
//
// Layout (onnxruntime docs/ContribOperators.md, MatMulNBits): values [N, blocks of K, block * bits / 8 bytes], two 4-bit
// values to a byte, the first in the low half; scales [N, blocks]; zero points of 4 bits [N, blocks / 2]. With 8 bits
// there are no zero points; the zero point is 128. A value is (level - zero point) * scale. Choice of levels: kernels.as.ts.

import type { InitializerTensor } from '../onnx/graph.ts'
import type { Matrix } from './matrix.ts'
import { packInOrder } from './worker-pool.ts'

export interface BlockFormat {
  bits: 4 | 8
  /** A power of two, 16 or more. */
  block: number
}

const SMALLEST_BLOCK = 16

/** The format with the largest block, up to the given one, that divides `inputs`; blocks of 16 if none does. */
export function largestBlockThatDivides<F extends BlockFormat>(inputs: number, format: F): F {
  let { block } = format
  while (block > SMALLEST_BLOCK && inputs % block !== 0) block /= 2
  return { ...format, block }
}

/** With 8 bits there are no zero points. */
type Blocks = Record<'packed' | 'scales', InitializerTensor> & { zeros?: InitializerTensor }

/**
 * `weight` is [N outputs, K inputs]. Writing `packed` computes scales and zero points, so they must be written after it.
 * They are kept only until then: those of a whole model, at 4 bits and blocks of 128, would be 7 % of its weights.
 */
export function toBlocks(weight: Matrix, { bits, block }: BlockFormat): Blocks {
  const [outputs = 0, inputs = 0] = weight.dims
  const { sources } = weight
  const blocks = Math.ceil(inputs / block)
  const scales: Uint8Array[] = []
  const zeros: Uint8Array[] = []
  async function* packed() {
    for await (const piece of packInOrder(weight.rows(), inputs, { kind: 'blocks', bits, block })) {
      scales.push(piece.scales)
      zeros.push(piece.zeros)
      yield piece.values
    }
  }
  return {
    packed: { type: 'uint8', dims: [outputs, blocks, (block * bits) / 8], sources, bytes: packed },
    scales: { type: 'float32', dims: [outputs, blocks], sources, bytes: () => drain(scales) },
    zeros:
      bits === 4
        ? { type: 'uint8', dims: [outputs, Math.ceil(blocks / 2)], sources, bytes: () => drain(zeros) }
        : undefined,
  }
}

/** Yields and forgets what writing the weight has computed. */
export async function* drain(computed: Uint8Array[]): AsyncGenerator<Uint8Array> {
  if (computed.length === 0) throw new Error('scales and zero points must be written after their weights')
  yield* computed.splice(0)
}
