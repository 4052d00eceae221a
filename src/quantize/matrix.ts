// Weights as they come from a checkpoint: in pieces of whole rows, in the number format of the file.

/** Bytes of one value in each number format that weights may have. */
export const FLOAT_BYTES = { F32: 4, F16: 2, BF16: 2 } as const
export type FloatDtype = keyof typeof FLOAT_BYTES

/** Little-endian values, as in the file. */
export interface Values {
  dtype: FloatDtype
  bytes: Uint8Array
  /** Whose they are, for an error. */
  name: string
}

/** [outputs, inputs], whole rows at a time. */
export interface Matrix {
  dims: number[]
  /** Names of the checkpoint's tensors it is made from. */
  sources: readonly string[]
  rows(): AsyncIterable<Values>
}

/** Matrices of the same inputs, one under another; or vectors, one after another. */
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
