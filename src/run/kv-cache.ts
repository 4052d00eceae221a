// Keys and values of the positions read so far, kept in slots that the graph can read as they lie.
//
// The graph is given whole buffers, empty slots at their end masked, and gives back what these positions add to them:
// a step of opt-2.7b writes 0.7 MB here instead of receiving 30 MB. Slots come in dozens, so that buffers are seldom
// made anew and little is computed in vain.

import { LANGUAGE, type Manifest } from '../artifact/contract.ts'
import type { FloatTensor } from './session.ts'

const STEP_SLOTS = 16

export class KVCache {
  readonly #sizes: Manifest['sizes']
  /** [B, heads, slots, D / heads], by the graph's name for it. */
  #buffers: Map<string, Float32Array>
  #rows: number
  #slots = 0
  #filled = 0

  constructor(sizes: Manifest['sizes'], rows: number) {
    this.#sizes = sizes
    this.#rows = rows
    const layers = Array.from({ length: sizes.layers }, (_, i) => [
      LANGUAGE.pastKey(i),
      LANGUAGE.pastValue(i),
    ])
    this.#buffers = new Map(layers.flat().map((name) => [name, new Float32Array(0)]))
  }

  /** Rows of several caches side by side: row i is picks[i].row of picks[i].cache. Who holds less has slots left empty. */
  static concat(sizes: Manifest['sizes'], picks: readonly { cache: KVCache; row: number }[]): KVCache {
    const joined = new KVCache(sizes, picks.length)
    joined.#filled = Math.max(...picks.map(({ cache }) => cache.#filled))
    joined.#slots = roundUpToStep(joined.#filled)
    const bySlot = sizes.width / sizes.heads
    for (const name of joined.#buffers.keys()) {
      const after = new Float32Array(picks.length * sizes.heads * joined.#slots * bySlot)
      picks.forEach(({ cache, row }, i) => {
        const before = cache.#buffers.get(name)!
        for (let head = 0; head < sizes.heads; head++) {
          const at = (row * sizes.heads + head) * cache.#slots * bySlot
          const kept = before.subarray(at, at + cache.#filled * bySlot)
          after.set(kept, (i * sizes.heads + head) * joined.#slots * bySlot)
        }
      })
      joined.#buffers.set(name, after)
    }
    return joined
  }

  /** Slots at the end that nothing is in yet. */
  get freeSlots(): number {
    return this.#slots - this.#filled
  }

  feeds(): Record<string, FloatTensor> {
    const { heads, width } = this.#sizes
    const dims = [this.#rows, heads, this.#slots, width / heads]
    return Object.fromEntries([...this.#buffers].map(([name, data]) => [name, { data, dims }]))
  }

  /** Puts what a run gave for `length` positions into the next slots. */
  append(outputs: Record<string, FloatTensor>, length: number): void {
    const missing = this.#filled + length - this.#slots
    if (missing > 0) this.#reallocate(allRows(this.#rows), this.#slots + roundUpToStep(missing))
    for (let i = 0; i < this.#sizes.layers; i++) {
      this.#write(LANGUAGE.pastKey(i), outputs[LANGUAGE.newKey(i)]!.data, length)
      this.#write(LANGUAGE.pastValue(i), outputs[LANGUAGE.newValue(i)]!.data, length)
    }
    this.#filled += length
  }

  /** Row i becomes what was row beamIdx[i]. */
  reorder(beamIdx: readonly number[]): void {
    if (beamIdx.length === this.#rows && beamIdx.every((row, i) => row === i)) return
    this.#reallocate(beamIdx, this.#slots)
    this.#rows = beamIdx.length
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

  #reallocate(from: readonly number[], slots: number): void {
    const { heads, width } = this.#sizes
    const size = width / heads
    const filled = this.#filled * size
    for (const [name, before] of this.#buffers) {
      const after = new Float32Array(from.length * heads * slots * size)
      from.forEach((row, i) => {
        for (let head = 0; head < heads; head++) {
          const at = (row * heads + head) * this.#slots * size
          after.set(before.subarray(at, at + filled), (i * heads + head) * slots * size)
        }
      })
      this.#buffers.set(name, after)
    }
    this.#slots = slots
  }
}

function roundUpToStep(count: number): number {
  return Math.ceil(count / STEP_SLOTS) * STEP_SLOTS
}

function allRows(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}
