// A weight -> signed bytes with one scale per output, as DynamicQuantizeMatMul reads them: [K inputs, N outputs], so
// the checkpoint's [out, in] is turned over. One tensor is held in memory, as bytes, while it is turned.

import type { InitializerTensor } from '../onnx/graph.ts'
import type { Matrix } from './matrix.ts'
import { packInOrder } from './worker-pool.ts'

export interface PerChannel {
  values: InitializerTensor
  scales: InitializerTensor
}

/** The scales are found while `values` is written, so they come right after it. */
export function toPerChannel(weight: Matrix): PerChannel {
  const [outputs = 0, inputs = 0] = weight.dims
  const { sources } = weight
  const found: Uint8Array[] = []
  return {
    values: {
      type: 'int8',
      dims: [inputs, outputs],
      sources,
      async *bytes() {
        const whole = new Uint8Array(inputs * outputs)
        let output = 0
        for await (const { transposed, scales } of packInOrder(weight.rows(), 'columns', { inputs })) {
          const rows = scales.length / Float32Array.BYTES_PER_ELEMENT
          for (let input = 0; input < inputs; input++) {
            whole.set(transposed.subarray(input * rows, (input + 1) * rows), input * outputs + output)
          }
          output += rows
          found.push(scales)
        }
        yield whole
      },
    },
    scales: {
      type: 'float32',
      dims: [outputs],
      sources,
      async *bytes() {
        if (found.length === 0) throw new Error('scales are written after their weights')
        yield* found.splice(0)
      },
    },
  }
}
