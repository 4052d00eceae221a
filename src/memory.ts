// Memory: how much this process may use, and how much a model takes. In bytes.

import { totalmem } from 'node:os'

/** Memory beside the weights: 400 MB for the program and a picture, and 256 MiB of keys and values of prompts. */
const BESIDE_WEIGHTS_BYTES = 700e6

/** What a running model takes. Its weights are in memory once, mapped from disk. */
export function memoryOf(modelBytes: number): number {
  return modelBytes + BESIDE_WEIGHTS_BYTES
}

/** The container's limit, or the machine's memory. */
export function memoryLimit(): number {
  return Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())
}
