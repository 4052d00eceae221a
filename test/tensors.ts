// Reads tensors that are produced in chunks, makes weights to produce them from, and compares values.

import type { InitializerTensor } from '../src/onnx/graph.ts'
import type { Matrix } from '../src/quantize/matrix.ts'

export async function bytesOf(tensor: InitializerTensor): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of tensor.bytes()) pieces.push(piece)
  return new Uint8Array(Buffer.concat(pieces))
}

export async function floatsOf(tensor: InitializerTensor): Promise<Float32Array> {
  return new Float32Array((await bytesOf(tensor)).buffer)
}

/** Returns rows of numbers as a float32 weight, in chunks of `pieces` rows. */
export function matrixOf(rows: readonly (readonly number[])[], pieces = [rows.length]): Matrix {
  return {
    dims: [rows.length, rows[0]!.length],
    sources: [],
    async *rows() {
      let at = 0
      for (const count of pieces) {
        const values = Float32Array.from(rows.slice(at, at + count).flat())
        yield { dtype: 'F32', bytes: new Uint8Array(values.buffer), name: 'test' }
        at += count
      }
    },
  }
}

/** |a - b| / |b|, over all values. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length)
    throw new Error(`Expected ${expected.length} values but got ${actual.length}`)
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
