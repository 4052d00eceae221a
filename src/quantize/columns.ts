// A float32 weight -> signed bytes with one scale per output, as DynamicQuantizeMatMul reads them: [K inputs, N
// outputs], so the checkpoint's [out, in] is turned over. One tensor is held in memory while it is turned.

import type { StoredTensor } from '../onnx/graph.ts'
import type { Matrix } from './matrix.ts'

/** Symmetric: -128 is left out so that a weight and its opposite have the same error. */
const MOST = 127

export interface Columns {
  values: StoredTensor
  scales: StoredTensor
}

/** The scales are found while `values` is written, so they come right after it. */
export function toColumns(weight: Matrix): Columns {
  const [outputs = 0, inputs = 0] = weight.dims
  let scales: Float32Array | undefined
  return {
    values: {
      type: 'int8',
      dims: [inputs, outputs],
      async *bytes() {
        const found = new Float32Array(outputs)
        const turned = new Int8Array(inputs * outputs)
        let output = 0
        for await (const rows of weight.rows()) {
          for (let at = 0; at < rows.length; at += inputs, output++) {
            let extreme = 0
            for (let k = 0; k < inputs; k++) extreme = Math.max(extreme, Math.abs(rows[at + k]!))
            const scale = Math.fround(extreme / MOST)
            found[output] = scale
            const inverse = scale === 0 ? 0 : 1 / scale
            for (let k = 0; k < inputs; k++)
              turned[k * outputs + output] = Math.round(rows[at + k]! * inverse)
          }
        }
        yield new Uint8Array(turned.buffer)
        scales = found
      },
    },
    scales: {
      type: 'float32',
      dims: [outputs],
      async *bytes() {
        if (!scales) throw new Error('scales are written after their weights')
        yield new Uint8Array(scales.buffer)
        scales = undefined
      },
    },
  }
}
