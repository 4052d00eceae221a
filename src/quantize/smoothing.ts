// Channels of different sizes -> channels that one scale fits, with the same outputs. Two means, both found in the weights
// alone; no activations are recorded. In float32 the outputs are the same but for rounding.
//
//   smoothed   the tensors that produce channel j are divided by a factor, the weights that read it are multiplied by it
//   large      the few largest channels are read by a product of their own, with float32 weights
//
// Activations are quantized with one scale for many channels, so one large channel takes the precision of the others. The
// size of channel j is estimated as a_j, the norm of row j of the tensors that produce it (for a norm,
// sqrt(weight_j^2 + bias_j^2)). The factor is (a_j / max_i |W_ij|)^strength, as in SmoothQuant (Xiao et al. 2022, arXiv
// 2211.10438, equation 4) for the strength 0.5. The factor of a large channel gives it the size of the others, because no
// quantized weight reads it. Products of their own for outliers: LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339).

import type { InitializerTensor } from '../onnx/graph.ts'
import { largestOfInputs, scaleInputs, toFloat32 } from './kernels.ts'
import type { Matrix, Values } from './matrix.ts'

export interface SmoothingOptions {
  /** From 0 to 1. A higher strength takes more from activations and gives more to weights. */
  strength: number
  /** How many of the K channels are large. */
  large: number
  /** Tensors [K, inputs] of which the activations are multiplied with the channels: they count in sizes and are not divided. */
  gates?: readonly Matrix[]
  /** Whether the channels can be divided. If not, all factors are 1, and `mask` takes the large channels from the others. */
  divides: boolean
}

export interface Smoothing {
  /** A tensor [K] or [K, inputs] that produces the channels, row j divided by factor j. */
  divideRows(matrix: Matrix): Matrix
  /** A weight [outputs, K] that reads the channels, input j multiplied by factor j; large channels are multiplied by 0. */
  multiplyInputs(matrix: Matrix): Matrix
  /** The inputs of the same weight that read large channels, multiplied by their factors: [outputs, large]. */
  pickLarge(matrix: Matrix): Matrix
  /** int64 [large], ascending. */
  channels: InitializerTensor
  /** float32 [K]: 0 at large channels, else 1. */
  mask: Matrix
}

/** For each channel: the factor, and what the quantized weights are multiplied by. */
interface Plan {
  factors: Float32Array
  multipliers: Float32Array
  large: number[]
}

/**
 * `producers` are [K] or [K, inputs], `readers` [outputs, K]. Nothing else may read the channels. The weights are read once
 * for the plan, when the first result is read; only the plan stays in memory.
 */
export function smooth(
  producers: readonly Matrix[],
  readers: readonly Matrix[],
  options: SmoothingOptions,
): Smoothing {
  let planned: Promise<Plan> | undefined
  const plan = () => {
    planned ??= planOf(producers, readers, options)
    return planned
  }
  const channels = producers[0]!.dims[0]!
  const sources = [...producers, ...(options.gates ?? []), ...readers].flatMap((matrix) => matrix.sources)
  const changed = (matrix: Matrix, dims: number[], rows: Matrix['rows']): Matrix => ({
    dims,
    sources: [...new Set([...matrix.sources, ...sources])],
    rows,
  })
  return {
    divideRows: (matrix) =>
      changed(matrix, matrix.dims, async function* () {
        const { factors } = await plan()
        let row = 0
        for await (const values of matrix.rows()) {
          const floats = floatsOf(values)
          const rows = rowsOf(floats, matrix)
          rows.forEach((one, i) => {
            const inverse = 1 / factors[row + i]!
            for (let at = 0; at < one.length; at++) one[at]! *= inverse
          })
          row += rows.length
          yield float32(floats, values.name)
        }
      }),
    multiplyInputs: (matrix) =>
      changed(matrix, matrix.dims, async function* () {
        const { multipliers } = await plan()
        for await (const values of matrix.rows()) yield scaleInputs(values, multipliers)
      }),
    pickLarge: (matrix) =>
      changed(matrix, [matrix.dims[0]!, options.large], async function* () {
        const { factors, large } = await plan()
        for await (const values of matrix.rows()) {
          const picked = rowsOf(floatsOf(values), matrix).flatMap((row) =>
            large.map((channel) => row[channel]! * factors[channel]!),
          )
          yield float32(Float32Array.from(picked), values.name)
        }
      }),
    channels: {
      type: 'int64',
      dims: [options.large],
      sources,
      async *bytes() {
        yield new Uint8Array(BigInt64Array.from((await plan()).large, BigInt).buffer)
      },
    },
    mask: {
      dims: [channels],
      sources,
      async *rows() {
        const mask = new Float32Array(channels).fill(1)
        for (const channel of (await plan()).large) mask[channel] = 0
        yield float32(mask, 'mask')
      },
    },
  }
}

async function planOf(
  producers: readonly Matrix[],
  readers: readonly Matrix[],
  { strength, large: count, gates, divides }: SmoothingOptions,
): Promise<Plan> {
  let sizes = await sizesOf(producers)
  if (gates?.length) {
    const gateSizes = await sizesOf(gates)
    sizes = sizes.map((size, j) => size * gateSizes[j]!)
  }
  const order = sizes.map((_, j) => j).sort((a, b) => sizes[b]! - sizes[a]! || a - b)
  const large = order.slice(0, count).sort((a, b) => a - b)
  const factors = new Float32Array(sizes.length).fill(1)
  if (divides) {
    factors.set(await factorsOf(sizes, readers, strength))
    const rest = order.slice(count).map((j) => sizes[j]! / factors[j]!)
    const usual = rest.sort((a, b) => a - b)[Math.floor(rest.length / 2)]!
    for (const j of large) factors[j] = usual > 0 && sizes[j]! > 0 ? sizes[j]! / usual : 1
  }
  const multipliers = factors.slice()
  for (const j of large) multipliers[j] = 0
  return { factors, multipliers, large }
}

/** The size of each channel: the norm of its row in all producers together. */
async function sizesOf(producers: readonly Matrix[]): Promise<number[]> {
  const squares = new Float64Array(producers[0]!.dims[0]!)
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
  return [...squares].map(Math.sqrt)
}

/** One factor for each channel; their geometric mean is 1. */
async function factorsOf(
  sizes: readonly number[],
  readers: readonly Matrix[],
  strength: number,
): Promise<Float32Array> {
  let largest: Float32Array = new Float32Array(sizes.length)
  for (const matrix of readers) {
    for await (const values of matrix.rows()) largest = largestOfInputs(values, largest)
  }
  // A channel that is always zero, or that nothing reads, has no size: its factor is 1.
  const exponents = [...largest].map((weight, j) => strength * Math.log2(sizes[j]! / weight))
  const known = exponents.filter(Number.isFinite)
  const mean = known.reduce((sum, one) => sum + one, 0) / Math.max(1, known.length)
  return Float32Array.from(exponents, (one) => (Number.isFinite(one) ? 2 ** (one - mean) : 1))
}

function float32({ buffer }: Float32Array, name: string): Values {
  return { dtype: 'F32', bytes: new Uint8Array(buffer), name }
}

function floatsOf(values: Values): Float32Array {
  return new Float32Array(toFloat32(values).buffer)
}

/** Views of the rows in a piece of a matrix. */
function rowsOf(floats: Float32Array, { dims: [, ...rest] }: Matrix): Float32Array[] {
  const inputs = rest.reduce((a, b) => a * b, 1)
  return Array.from({ length: floats.length / inputs }, (_, i) =>
    floats.subarray(i * inputs, (i + 1) * inputs),
  )
}
