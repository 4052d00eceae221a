// Channels that differ in size -> channels of even size, with the same outputs: tensors that produce channels are divided by
// a factor for each channel, and the weights that read these channels are multiplied by it.
//
// Activations are quantized with one scale for many channels, so one large channel takes the precision of the others. No
// activations are recorded: the size of channel j is estimated as a_j, the norm of row j of the tensors that produce it
// (for a norm, sqrt(weight_j^2 + bias_j^2)). The factor is (a_j / max_i |W_ij|)^strength, as in SmoothQuant (Xiao et al. 2022,
// arXiv 2211.10438, equation 4) for the strength 0.5. In float32 the outputs are the same but for rounding.

import { largestOfInputs, scaleInputs, toFloat32 } from './kernels.ts'
import type { Matrix, Values } from './matrix.ts'

export interface Smoothing {
  /** A tensor [K] or [K, inputs] that produces the channels, row j divided by factor j. */
  divideRows(matrix: Matrix): Matrix
  /** A weight [outputs, K] that reads the channels, input j multiplied by factor j. */
  multiplyInputs(matrix: Matrix): Matrix
}

/**
 * A higher `strength` takes more from activations and gives more to weights. `producers` are [K] or [K, inputs], `readers` [outputs, K]. Nothing else may read the channels. The weights are read once
 * for the factors, when the first changed matrix is read; only the factors stay in memory.
 */
export function smooth(
  producers: readonly Matrix[],
  readers: readonly Matrix[],
  strength: number,
): Smoothing {
  let found: Promise<Float32Array> | undefined
  const factors = () => {
    found ??= factorsOf(producers, readers, strength)
    return found
  }
  const sources = [...producers, ...readers].flatMap((matrix) => matrix.sources)
  const changed = (matrix: Matrix, rows: Matrix['rows']): Matrix => ({
    dims: matrix.dims,
    sources: [...new Set([...matrix.sources, ...sources])],
    rows,
  })
  return {
    divideRows: (matrix) =>
      changed(matrix, async function* () {
        const divisors = await factors()
        let row = 0
        for await (const values of matrix.rows()) {
          const floats = floatsOf(values)
          const rows = rowsOf(floats, matrix)
          rows.forEach((one, i) => {
            const inverse = 1 / divisors[row + i]!
            for (let at = 0; at < one.length; at++) one[at]! *= inverse
          })
          row += rows.length
          yield { dtype: 'F32', bytes: new Uint8Array(floats.buffer), name: values.name }
        }
      }),
    multiplyInputs: (matrix) =>
      changed(matrix, async function* () {
        const multipliers = await factors()
        for await (const values of matrix.rows()) yield scaleInputs(values, multipliers)
      }),
  }
}

/** One factor for each channel; their geometric mean is 1. */
async function factorsOf(
  producers: readonly Matrix[],
  readers: readonly Matrix[],
  strength: number,
): Promise<Float32Array> {
  const channels = producers[0]!.dims[0]!
  const squares = new Float64Array(channels)
  for (const matrix of producers) {
    let row = 0
    for await (const values of matrix.rows()) {
      const rows = rowsOf(floatsOf(values), matrix)
      rows.forEach((one, i) => {
        let sum = 0
        for (let at = 0; at < one.length; at++) sum += one[at]! ** 2
        squares[row + i]! += sum
      })
      row += rows.length
    }
  }
  let largest: Float32Array = new Float32Array(channels)
  for (const matrix of readers) {
    for await (const values of matrix.rows()) largest = largestOfInputs(values, largest)
  }
  // A channel that is always zero, or that nothing reads, has no size: its factor is 1.
  const exponents = [...largest].map((weight, j) => strength * Math.log2(Math.sqrt(squares[j]!) / weight))
  const known = exponents.filter(Number.isFinite)
  const mean = known.reduce((sum, one) => sum + one, 0) / Math.max(1, known.length)
  return Float32Array.from(exponents, (one) => (Number.isFinite(one) ? 2 ** (one - mean) : 1))
}

function floatsOf(values: Values): Float32Array<ArrayBuffer> {
  return new Float32Array(toFloat32(values).buffer as ArrayBuffer)
}

/** Views of the rows in a piece of a matrix. */
function rowsOf(floats: Float32Array, { dims: [, ...rest] }: Matrix): Float32Array[] {
  const inputs = rest.reduce((a, b) => a * b, 1)
  return Array.from({ length: floats.length / inputs }, (_, i) =>
    floats.subarray(i * inputs, (i + 1) * inputs),
  )
}
