// Weights between a checkpoint and an artifact: pieces of whole rows, in the number format of the file.

/** Bytes of one value in each number format that weights may have. */
export const FLOAT_BYTES = { F32: 4, F16: 2, BF16: 2 } as const
export type FloatDtype = keyof typeof FLOAT_BYTES

/** Little-endian values, as in the file. */
export interface Values {
  dtype: FloatDtype
  bytes: Uint8Array
  /** The tensor's name, for error messages. */
  name: string
}

/** [outputs, inputs], or a tensor of other dims; `rows` yields whole rows. */
export interface Matrix {
  dims: number[]
  /** Names of the checkpoint's tensors that it is made from. */
  sources: readonly string[]
  rows(): AsyncIterable<Values>
}

/** Joins along the first dimension: matrices with the same inputs, or vectors. */
export function stack(...parts: Matrix[]): Matrix {
  const [, ...rest] = parts[0]?.dims ?? []
  return {
    dims: [parts.reduce((sum, { dims }) => sum + (dims[0] ?? 0), 0), ...rest],
    sources: parts.flatMap(({ sources }) => sources),
    async *rows() {
      for (const part of parts) yield* part.rows()
    },
  }
}

/** A tensor of these dims whose values no checkpoint holds. */
export function constant(dims: number[], values: Float32Array): Matrix {
  async function* rows(): AsyncGenerator<Values> {
    yield {
      dtype: 'F32',
      bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      name: 'constant',
    }
  }
  return { dims, sources: [], rows }
}

/** A vector [size] of one value. */
export function filled(size: number, value: number): Matrix {
  return constant([size], new Float32Array(size).fill(value))
}
