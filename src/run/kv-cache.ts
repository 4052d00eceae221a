// Keys and values of the positions read so far, for one batch of rows: outputs of a run -> inputs of the next run.
//
// The graph reads whole buffers; unused slots at their end are masked. It returns only the keys and values of the new
// positions: onnxruntime copies every output, and a step of opt-2.7b then copies 0.7 MB instead of 30 MB. Capacity grows
// in steps of 16 positions: few reallocations, and few masked positions to compute.

import { LANGUAGE, type Manifest } from '../artifact/contract.ts'
import type { FloatTensor } from './session.ts'

const STEP_SLOTS = 16

export class KVCache {
  readonly #sizes: Manifest['sizes']
  /** [B, heads, slots, D / heads], by the name of the graph's input. */
  #buffers: Map<string, Float32Array>
  #rows: number
  #slots = 0
  #filled = 0

  constructor(sizes: Manifest['sizes'], rows: number) {
    this.#sizes = sizes
    this.#rows = rows
    const names = Array.from({ length: sizes.layers }, (_, i) => [LANGUAGE.pastKey(i), LANGUAGE.pastValue(i)])
    this.#buffers = new Map(names.flat().map((name) => [name, new Float32Array(0)]))
  }

  /** A cache whose row i is a copy of row picks[i].row of picks[i].cache. Shorter rows have free slots at their end. */
  static concat(sizes: Manifest['sizes'], picks: readonly { cache: KVCache; row: number }[]): KVCache {
    const joined = new KVCache(sizes, picks.length)
    joined.#filled = Math.max(...picks.map(({ cache }) => cache.#filled))
    joined.#reallocate(picks, roundUpToStep(joined.#filled))
    return joined
  }

  /** Empty slots at the end of every row. */
  get freeSlots(): number {
    return this.#slots - this.#filled
  }

  /** The graph's inputs `past.*`, [B, heads, slots, D / heads] each. */
  feeds(): Record<string, FloatTensor> {
    const { heads, width } = this.#sizes
    const dims = [this.#rows, heads, this.#slots, width / heads]
    return Object.fromEntries([...this.#buffers].map(([name, data]) => [name, { data, dims }]))
  }

  /** Copies a run's outputs `new.*` [B, length, D] into the next `length` slots. */
  append(outputs: Record<string, FloatTensor>, length: number): void {
    const missing = this.#filled + length - this.#slots
    if (missing > 0) {
      const all = Array.from({ length: this.#rows }, (_, row) => ({ cache: this, row }))
      this.#reallocate(all, this.#slots + roundUpToStep(missing))
    }
    for (let i = 0; i < this.#sizes.layers; i++) {
      this.#write(LANGUAGE.pastKey(i), outputs[LANGUAGE.newKey(i)]!.data, length)
      this.#write(LANGUAGE.pastValue(i), outputs[LANGUAGE.newValue(i)]!.data, length)
    }
    this.#filled += length
  }

  /** Row i becomes a copy of what was row beamIdx[i]. */
  reorder(beamIdx: readonly number[]): void {
    if (beamIdx.length === this.#rows && beamIdx.every((row, i) => row === i)) return
    this.#reallocate(
      beamIdx.map((row) => ({ cache: this, row })),
      this.#slots,
    )
  }

  /** added [B, length, D] */
  #write(name: string, added: Float32Array, length: number): void {
    const { heads, width } = this.#sizes
    const size = width / heads
    const buffer = this.#buffers.get(name)!
    for (let at = 0; at < this.#rows * length; at++) {
      const row = Math.floor(at / length)
      const slot = this.#filled + (at % length)
      for (let head = 0; head < heads; head++) {
        const from = at * width + head * size
        buffer.set(added.subarray(from, from + size), ((row * heads + head) * this.#slots + slot) * size)
      }
    }
  }

  /** New buffers of so many slots; row i is a copy of picks[i]. */
  #reallocate(picks: readonly { cache: KVCache; row: number }[], slots: number): void {
    const { heads, width } = this.#sizes
    const size = width / heads
    for (const name of this.#buffers.keys()) {
      const buffer = new Float32Array(picks.length * heads * slots * size)
      picks.forEach(({ cache, row }, i) => {
        const source = cache.#buffers.get(name)!
        for (let head = 0; head < heads; head++) {
          const from = (row * heads + head) * cache.#slots * size
          const filled = source.subarray(from, from + cache.#filled * size)
          buffer.set(filled, (i * heads + head) * slots * size)
        }
      })
      this.#buffers.set(name, buffer)
    }
    this.#rows = picks.length
    this.#slots = slots
  }
}

function roundUpToStep(count: number): number {
  return Math.ceil(count / STEP_SLOTS) * STEP_SLOTS
}
