// Keys, values and mask of the positions read so far, for one batch of rows: outputs of a run -> inputs of the next run.
//
// The graph reads whole buffers; unused slots at their end are masked. It returns only the keys and values of the new
// positions: onnxruntime copies every output, and a step of opt-2.7b then copies 0.7 MB instead of 30 MB. Capacity grows
// in steps of 16 positions: few reallocations, and few masked positions to compute.

import { type DecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import { Tensor } from './tensor.ts'

const STEP_SLOTS = 16

/** The content of a slot that holds no position: padding. */
const EMPTY = 0
/** Each position that a row reads gets a number of its own, so slots with equal numbers hold equal keys and values. */
let positionsRead = EMPTY

export type CacheSizes = Pick<DecoderDescription, 'layers' | 'heads' | 'head_size'>

/** An input of the graph that reads a cache, and the output of a graph that is copied into it. */
export interface CachePort {
  input: string
  output: string
}

/** The cache of the positions that the graph `language` reads itself: keys and values of each layer. */
function ownPorts({ layers }: CacheSizes): CachePort[] {
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

/** Keys and values of positions that one row has read, in their order, outside of a cache. */
export interface Positions {
  length: number
  /** At least [length, heads * head size], by the name of the graph's input. */
  values: ReadonlyMap<string, Float32Array>
}

export class KVCache {
  readonly #sizes: CacheSizes
  readonly #ports: readonly CachePort[]
  /** [B, heads, slots, head size], by the name of the graph's input. */
  readonly #buffers: Map<string, Float32Array>
  /** For each row the content of its filled slots: the number of a position, or EMPTY. A copied row has the same numbers. */
  #rows: number[][]

  constructor(sizes: CacheSizes, rows: number, ports: readonly CachePort[] = ownPorts(sizes)) {
    this.#sizes = sizes
    this.#ports = ports
    this.#rows = Array.from({ length: rows }, () => [])
    this.#buffers = new Map(ports.map(({ input }) => [input, new Float32Array(0)]))
  }

  /** A cache whose row i has read `rows[i]`. Shorter rows are padded at their end. */
  static holding(sizes: CacheSizes, rows: readonly (readonly Positions[])[]): KVCache {
    const cache = new KVCache(sizes, rows.length)
    const filled = Math.max(0, ...rows.map((parts) => parts.reduce((sum, { length }) => sum + length, 0)))
    for (const name of cache.#buffers.keys()) {
      const buffer = new Float32Array(rows.length * slotsFor(filled) * sizes.heads * sizes.head_size)
      cache.#buffers.set(name, buffer)
      rows.forEach((parts, row) => {
        let slot = 0
        for (const { length, values } of parts) {
          cache.#write(
            buffer,
            row,
            slot,
            values.get(name)!.subarray(0, length * sizes.heads * sizes.head_size),
          )
          slot += length
        }
      })
    }
    cache.#rows = rows.map((parts) => {
      const slots = parts.flatMap(({ length }) => Array.from({ length }, () => ++positionsRead))
      return [...slots, ...constant(filled - slots.length, EMPTY)]
    })
    return cache
  }

  /**
   * Returns for each pick the row that continues it, all rows of one cache, in any order. As many picks of one cache as it
   * has rows are that cache. Otherwise it is a new one, where shorter rows are padded at their end. The picked caches lose
   * their content.
   */
  static pick(picks: readonly CachedRow[]): CachedRow[] {
    const { cache } = picks[0]!
    if (picks.length === cache.#rows.length && picks.every((pick) => pick.cache === cache)) {
      return cache.#continue(picks.map(({ row }) => row)).map((row) => ({ cache, row }))
    }
    const picked = new KVCache(cache.#sizes, picks.length, cache.#ports)
    const filled = Math.max(...picks.map((pick) => pick.cache.#filled))
    picked.#allocate(picks, slotsFor(filled))
    picked.#rows = picks.map((pick) => {
      const slots = pick.cache.#rows[pick.row]!
      return [...slots, ...constant(filled - slots.length, EMPTY)]
    })
    return picks.map((_, row) => ({ cache: picked, row }))
  }

  /** B */
  get rows(): number {
    return this.#rows.length
  }

  /** The outputs of a run that `append` reads. */
  get outputNames(): string[] {
    return this.#ports.map(({ output }) => output)
  }

  get #filled(): number {
    return this.#rows[0]!.length
  }

  /** The graph's inputs, `past.*` if not said otherwise, [B, heads, slots, head size] each. */
  feeds(): Record<string, Tensor> {
    const { heads, head_size } = this.#sizes
    const dims = [this.#rows.length, heads, slotsFor(this.#filled), head_size]
    return Object.fromEntries([...this.#buffers].map(([name, data]) => [name, Tensor.float32(data, dims)]))
  }

  /** For each row, the mask of all slots and of the positions `added` that a run reads. */
  maskWith(added: readonly (readonly number[])[]): number[][] {
    const free = constant(slotsFor(this.#filled) - this.#filled, 0)
    return added.map((positions, row) => {
      const read = this.#rows[row]!.map((slot) => (slot === EMPTY ? 0 : 1))
      return [...read, ...free, ...positions]
    })
  }

  /** Copies a run's outputs [B, length, heads * head size] into the next slots. `masks` cover these positions. */
  async append(outputs: Record<string, Tensor>, masks: readonly (readonly number[])[]): Promise<void> {
    const slots = slotsFor(this.#filled + masks[0]!.length)
    if (slots > slotsFor(this.#filled))
      this.#allocate(
        masks.map((_, row) => ({ cache: this, row })),
        slots,
      )
    const added = await Promise.all(this.#ports.map(({ output }) => outputs[output]!.floats()))
    this.#ports.forEach(({ input }, port) => {
      const buffer = this.#buffers.get(input)!
      const values = added[port]!
      const size = values.length / masks.length
      for (let row = 0; row < masks.length; row++) {
        this.#write(buffer, row, this.#filled, values.subarray(row * size, (row + 1) * size))
      }
    })
    this.#rows = this.#rows.map((row, i) => [
      ...row,
      ...masks[i]!.map((read) => (read ? ++positionsRead : EMPTY)),
    ])
  }

  /**
   * For each picked row the row that continues it. The first pick of a row stays where it is. A further pick takes the place
   * of a row that nobody picked; only the slots in which the two differ are copied. Beams share their prompt, and often most
   * of what they generated.
   */
  #continue(picks: readonly number[]): number[] {
    const unused = this.#rows.map((_, row) => row).filter((row) => !picks.includes(row))
    return picks.map((from, i) => {
      if (picks.indexOf(from) === i) return from
      const to = unused.pop()!
      this.#copyRow(from, to)
      return to
    })
  }

  #copyRow(from: number, to: number): void {
    const { heads, head_size: size } = this.#sizes
    const source = this.#rows[from]!
    const start = source.findIndex((slot, i) => slot !== this.#rows[to]![i])
    if (start < 0) return
    const slots = slotsFor(this.#filled)
    for (const buffer of this.#buffers.values()) {
      for (let head = 0; head < heads; head++) {
        const at = (from * heads + head) * slots * size
        const target = ((to * heads + head) * slots + start) * size
        buffer.copyWithin(target, at + start * size, at + this.#filled * size)
      }
    }
    this.#rows[to] = [...source]
  }

  /** Copies `values` [length, heads * head size] of a row into the slots from `slot` on of a buffer. */
  #write(buffer: Float32Array, row: number, slot: number, values: Float32Array): void {
    const { heads, head_size: size } = this.#sizes
    const headStride = buffer.length / this.#rows.length / heads
    const length = values.length / heads / size
    for (let head = 0; head < heads; head++) {
      let to = (row * heads + head) * headStride + slot * size
      for (let position = 0; position < length; position++) {
        const from = (position * heads + head) * size
        buffer.set(values.subarray(from, from + size), to)
        to += size
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

/**
 * What row `row` has read in a run: of the outputs `new.*` [B, length, heads * head size] the positions where its mask has a
 * one, one part for each range of them.
 */
export async function positionsOf(
  sizes: CacheSizes,
  outputs: Record<string, Tensor>,
  mask: readonly number[],
  row: number,
): Promise<Positions[]> {
  const width = sizes.heads * sizes.head_size
  const starts = mask.flatMap((read, i) => (read && !mask[i - 1] ? [i] : []))
  const parts = starts.map((start) => {
    const end = mask.indexOf(0, start)
    const values = new Map<string, Float32Array>()
    return { start, length: (end < 0 ? mask.length : end) - start, values }
  })
  for (const { input, output } of ownPorts(sizes)) {
    const all = await outputs[output]!.floats()
    for (const { start, length, values } of parts) {
      const from = (row * mask.length + start) * width
      // A view of a longer array would keep all of it in memory.
      values.set(input, length * width === all.length ? all : all.slice(from, from + length * width))
    }
  }
  return parts
}

function slotsFor(positions: number): number {
  return Math.ceil(positions / STEP_SLOTS) * STEP_SLOTS
}

function constant(length: number, value: number): number[] {
  return new Array<number>(length).fill(value)
}
