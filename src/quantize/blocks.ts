// Rows of float32 weights -> packed integers and scales, as MatMulNBits and GatherBlockQuantized read them.
//
// Layout (onnxruntime docs/ContribOperators.md, MatMulNBits): [N outputs, blocks of K, block * bits / 8 bytes], two
// 4-bit values to a byte, the first in the low half; scales [N, blocks]; the zero point is 2^(bits-1) everywhere.

import type { StoredTensor } from '../onnx/graph.ts'
import type { Matrix } from './matrix.ts'

export interface BlockFormat {
  bits: 4 | 8
  block: number
}

export interface Blocks {
  packed: StoredTensor
  scales: StoredTensor
  blocksPerRow: number
}

/**
 * `weight` is [N outputs, K inputs]. The scales are found while `packed` is written, so they come right after it; they
 * live only in between, for all scales together are a fifth of a 4-bit model.
 */
export function toBlocks(weight: Matrix, { bits, block }: BlockFormat): Blocks {
  const [outputs = 0, inputs = 0] = weight.dims
  const blocksPerRow = Math.ceil(inputs / block)
  const blockBytes = (block * bits) / 8
  let scales: Float32Array | undefined
  return {
    blocksPerRow,
    packed: {
      type: 'uint8',
      dims: [outputs, blocksPerRow, blockBytes],
      async *bytes() {
        const found = new Float32Array(outputs * blocksPerRow)
        let row = 0
        for await (const values of weight.rows()) {
          const count = values.length / inputs
          const packed = new Uint8Array(count * blocksPerRow * blockBytes)
          for (let r = 0; r < count; r++, row++) {
            const from = values.subarray(r * inputs, (r + 1) * inputs)
            for (let b = 0; b < blocksPerRow; b++) {
              const to = packed.subarray(
                (r * blocksPerRow + b) * blockBytes,
                (r * blocksPerRow + b + 1) * blockBytes,
              )
              found[row * blocksPerRow + b] = packBlock(from.subarray(b * block, (b + 1) * block), bits, to)
            }
          }
          yield packed
        }
        scales = found
      },
    },
    scales: {
      type: 'float32',
      dims: [outputs, blocksPerRow],
      async *bytes() {
        if (!scales) throw new Error('scales are written after their weights')
        yield new Uint8Array(scales.buffer)
        scales = undefined
      },
    },
  }
}

/**
 * Fills `to` and returns the scale. The scale's sign is chosen so that the largest value falls on -2^(bits-1), the
 * one level that has no opposite: the whole range is used, and that value is exact.
 */
export function packBlock(values: Float32Array, bits: 4 | 8, to: Uint8Array): number {
  const zero = 2 ** (bits - 1)
  let extreme = 0
  for (const value of values) if (Math.abs(value) > Math.abs(extreme)) extreme = value
  const scale = Math.fround(-extreme / zero)
  const inverse = scale === 0 ? 0 : 1 / scale
  const most = 2 * zero - 1
  const level = (value: number) => Math.min(most, Math.max(0, Math.round(value * inverse) + zero))
  if (bits === 8) {
    to.fill(zero)
    for (let i = 0; i < values.length; i++) to[i] = level(values[i]!)
  } else {
    to.fill(zero | (zero << 4))
    for (let i = 0; i < values.length; i += 2) {
      const second = i + 1 < values.length ? level(values[i + 1]!) : zero
      to[i >> 1] = level(values[i]!) | (second << 4)
    }
  }
  return scale
}
