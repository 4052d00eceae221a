// A weight [N outputs, K inputs] -> signed bytes [K, N] with one scale per output, as MatMulIntegerToFloat reads them.
//
// The bytes of one weight are held in memory while they are transposed.

import type { InitializerTensor } from '../onnx/graph.ts'
import { drain } from './blocks.ts'
import type { Matrix } from './matrix.ts'
import { packInOrder } from './worker-pool.ts'

/** Writing `values` computes the scales, so they must be written after it. */
export function toPerChannel(weight: Matrix): Record<'values' | 'scales', InitializerTensor> {
  const [outputs = 0, inputs = 0] = weight.dims
  const { sources } = weight
  const scales: Uint8Array[] = []
  async function* bytes() {
    const whole = new Uint8Array(inputs * outputs)
    let output = 0
    for await (const piece of packInOrder(weight.rows(), inputs, { kind: 'columns' })) {
      const rows = piece.scales.length / Float32Array.BYTES_PER_ELEMENT
      for (let input = 0; input < inputs; input++) {
        whole.set(piece.values.subarray(input * rows, (input + 1) * rows), input * outputs + output)
      }
      output += rows
      scales.push(piece.scales)
    }
    yield whole
  }
  return {
    values: { type: 'int8', dims: [inputs, outputs], sources, bytes },
    scales: { type: 'float32', dims: [outputs], sources, bytes: () => drain(scales) },
  }
}
