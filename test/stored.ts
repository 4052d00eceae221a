// The bytes of a tensor that is made piece by piece.

import type { StoredTensor } from '../src/onnx/graph.ts'

export async function bytesOf(tensor: StoredTensor): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of tensor.bytes()) pieces.push(piece)
  return new Uint8Array(Buffer.concat(pieces))
}

export async function floatsOf(tensor: StoredTensor): Promise<Float32Array> {
  return new Float32Array((await bytesOf(tensor)).buffer)
}
