// The search of one row: scores [V] of its running sequences -> how each continues. Greedy search and sampling are here,
// beam search in beam-search.ts.

import type { GenerationSettings } from '../generation-settings.ts'
import { argmax, assertFiniteScore, type Rng, sample } from './sampling.ts'

/** A sequence that continues the running sequence `from` with the token `id`. */
export interface Continuation {
  from: number
  id: number
}

export interface Search {
  /** The ids that each running sequence has generated so far. */
  readonly running: readonly (readonly number[])[]
  readonly done: boolean
  /**
   * `scores[i]` [V] belong to running sequence i, after the processors. Returns the sequences that run on, in their new
   * order; none once it is done. @throws RequestError `bad_settings` if no token is allowed
   */
  advance(scores: readonly Float32Array[]): Continuation[]
  /** The `num_return_sequences` answers so far. */
  answers(): number[][]
}

/** `num_return_sequences` sequences side by side, which share one random generator. */
export class SequenceSearch implements Search {
  readonly #settings: GenerationSettings
  readonly #eosTokenIds: ReadonlySet<number>
  readonly #rng: Rng
  readonly #sequences: number[][]
  #running: number[][]

  constructor(settings: GenerationSettings, eosTokenIds: readonly number[], rng: Rng) {
    this.#settings = settings
    this.#eosTokenIds = new Set(eosTokenIds)
    this.#rng = rng
    this.#sequences = Array.from({ length: settings.num_return_sequences }, () => [])
    this.#running = this.#sequences
  }

  get running(): readonly (readonly number[])[] {
    return this.#running
  }

  get done(): boolean {
    return this.#running.length === 0
  }

  advance(scores: readonly Float32Array[]): Continuation[] {
    const { do_sample, max_new_tokens } = this.#settings
    const continued: Continuation[] = []
    this.#running = this.#running.filter((ids, from) => {
      const own = scores[from]!
      const id = do_sample ? sample(own, this.#rng) : argmax(own)
      assertFiniteScore(own[id]!)
      ids.push(id)
      const ends = ids.length >= max_new_tokens || this.#eosTokenIds.has(id)
      if (!ends) continued.push({ from, id })
      return !ends
    })
    return continued
  }

  answers(): number[][] {
    return this.#sequences
  }
}
