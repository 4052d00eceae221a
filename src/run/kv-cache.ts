// Keys, values and mask of the positions read so far, for one batch of rows: outputs of a run -> inputs of the next run.
//
// The graph reads whole buffers; unused slots at their end are masked. It returns only the keys and values of the new
// positions: onnxruntime copies every output, and a step of opt-2.7b then copies 0.7 MB instead of 30 MB. Capacity grows
// in steps of 16 positions: few reallocations, and few masked positions to compute.

import { type DecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import { Tensor } from './tensor.ts'

const STEP_SLOTS = 16

export type CacheSizes = Pick<DecoderDescription, 'layers' | 'heads' | 'head_size'>

/** An input of the graph that reads a cache, and the output of a graph that is copied into it. */
export interface CachePort {
  input: string
  output: string
}

/** The cache of the positions that the graph `language` reads itself. */
function ownPorts(layers: number): CachePort[] {
  return Array.from({ length: layers }, (_, i) => [
    { input: LANGUAGE.pastKey(i), output: LANGUAGE.newKey(i) },
    { input: LANGUAGE.pastValue(i), output: LANGUAGE.newValue(i) },
  ]).flat()
}

/** Row `row` of `cache`. */
export interface CachedRow {
  cache: KVCache
  row: number
}

export class KVCache {
  readonly #sizes: CacheSizes
  readonly #ports: readonly CachePort[]
  /** [B, heads, slots, head size], by the name of the graph's input. */
  readonly #buffers: Map<string, Float32Array>
  /** For each row and position read so far, 1, or 0 for padding. */
  #masks: number[][]

  constructor(sizes: CacheSizes, rows: number, ports: readonly CachePort[] = ownPorts(sizes.layers)) {
    this.#sizes = sizes
    this.#ports = ports
    this.#masks = Array.from({ length: rows }, () => [])
    this.#buffers = new Map(ports.map(({ input }) => [input, new Float32Array(0)]))
  }

  /** Returns a cache whose row i continues `picks[i]`. Shorter rows are padded at their end. The picked caches lose their content. */
  static pick(picks: readonly CachedRow[]): KVCache {
    const first = picks[0]!.cache
    const isSame = picks.every(({ cache, row }, i) => cache === first && row === i)
    if (isSame && picks.length === first.#masks.length) return first
    const picked = new KVCache(first.#sizes, picks.length, first.#ports)
    const filled = Math.max(...picks.map(({ cache }) => cache.#filled))
    picked.#allocate(picks, slotsFor(filled))
    picked.#masks = picks.map(({ cache, row }) => [...cache.#masks[row]!, ...zeros(filled - cache.#filled)])
    return picked
  }

  /** B */
  get rows(): number {
    return this.#masks.length
  }

  get #filled(): number {
    return this.#masks[0]!.length
  }

  /** The graph's inputs, `past.*` if not said otherwise, [B, heads, slots, head size] each. */
  feeds(): Record<string, Tensor> {
    const { heads, head_size } = this.#sizes
    const dims = [this.#masks.length, heads, slotsFor(this.#filled), head_size]
    return Object.fromEntries([...this.#buffers].map(([name, data]) => [name, Tensor.float32(data, dims)]))
  }

  /** For each row, the mask of all slots and of the positions `added` that a run reads. */
  maskWith(added: readonly (readonly number[])[]): number[][] {
    const free = zeros(slotsFor(this.#filled) - this.#filled)
    return added.map((positions, row) => [...this.#masks[row]!, ...free, ...positions])
  }

  /** The outputs of a run that `append` reads. */
  get outputNames(): string[] {
    return this.#ports.map(({ output }) => output)
  }

  /** Copies a run's outputs [B, length, heads * head size] into the next slots. `masks` cover these positions. */
  async append(outputs: Record<string, Tensor>, masks: readonly (readonly number[])[]): Promise<void> {
    const slots = slotsFor(this.#filled + masks[0]!.length)
    if (slots > slotsFor(this.#filled))
      this.#allocate(
        masks.map((_, row) => ({ cache: this, row })),
        slots,
      )
    for (const { input, output } of this.#ports) {
      this.#write(input, await outputs[output]!.floats(), slots)
    }
    this.#masks = this.#masks.map((mask, row) => [...mask, ...masks[row]!])
  }

  /** added [B, length, heads * head size] */
  #write(name: string, added: Float32Array, slots: number): void {
    const { heads, head_size: size } = this.#sizes
    const width = heads * size
    const length = added.length / width / this.#masks.length
    const buffer = this.#buffers.get(name)!
    for (let at = 0; at < added.length / width; at++) {
      const row = Math.floor(at / length)
      const slot = this.#filled + (at % length)
      for (let head = 0; head < heads; head++) {
        const from = at * width + head * size
        buffer.set(added.subarray(from, from + size), ((row * heads + head) * slots + slot) * size)
      }
    }
  }

  /** New buffers of so many slots; row i is a copy of picks[i]. */
  #allocate(picks: readonly CachedRow[], slots: number): void {
    const { heads, head_size: size } = this.#sizes
    for (const name of [...this.#buffers.keys()]) {
      const buffer = new Float32Array(picks.length * heads * slots * size)
      picks.forEach(({ cache, row }, i) => {
        const source = cache.#buffers.get(name)!
        for (let head = 0; head < heads; head++) {
          const from = (row * heads + head) * slotsFor(cache.#filled) * size
          const filled = source.subarray(from, from + cache.#filled * size)
          buffer.set(filled, (i * heads + head) * slots * size)
        }
      })
      // Frees the memory of the sources before the next buffer is copied.
      for (const { cache } of picks) cache.#buffers.delete(name)
      this.#buffers.set(name, buffer)
    }
  }
}

function slotsFor(positions: number): number {
  return Math.ceil(positions / STEP_SLOTS) * STEP_SLOTS
}

function zeros(length: number): number[] {
  return new Array<number>(length).fill(0)
}
