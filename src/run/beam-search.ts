// Beam search over one picture and prompt: which beams go on, which are finished, and when nothing can get better.
//
// transformers 5.18, GenerationMixin._beam_search and its helpers in generation/utils.py, one item at a time.
// Running beams are those still growing; finished ones sit in `num_beams` places, each with its length-adjusted score.

import { checkChoice, drawSeveral, type Random, topIndices } from './sampling.ts'
import type { GenerationSettings } from './settings.ts'

/** Stands for minus infinity where scores are still added to. */
const WORST = -1e9

interface Beam {
  ids: readonly number[]
  score: number
}

interface Place extends Beam {
  finished: boolean
}

/** How the running beams go on: beam i takes `ids[i]` after what was beam `from[i]`. */
export interface Advance {
  ids: number[]
  from: number[]
}

export class BeamSearch {
  readonly #settings: GenerationSettings
  readonly #endIds: ReadonlySet<number>
  readonly #random: Random
  #running: Beam[]
  #places: Place[]
  #canImprove = true
  done = false

  constructor(settings: GenerationSettings, endIds: readonly number[], random: Random) {
    this.#settings = settings
    this.#endIds = new Set(endIds)
    this.#random = random
    const { num_beams } = settings
    // All beams start alike: only the first counts until they differ.
    this.#running = Array.from({ length: num_beams }, (_, i) => ({ ids: [], score: i === 0 ? 0 : WORST }))
    this.#places = Array.from({ length: num_beams }, () => ({ ids: [], score: WORST, finished: false }))
  }

  /** What each running beam has generated so far. */
  get running(): readonly (readonly number[])[] {
    return this.#running.map(({ ids }) => ids)
  }

  /** `logProbabilities[i]` [V] are running beam i's, after the processors. */
  advance(logProbabilities: readonly Float32Array[]): Advance {
    const { num_beams, do_sample, max_new_tokens } = this.#settings
    const V = logProbabilities[0]!.length
    const totals = new Float32Array(num_beams * V)
    logProbabilities.forEach((scores, beam) => {
      for (let id = 0; id < V; id++) totals[beam * V + id] = this.#running[beam]!.score + scores[id]!
    })
    // Enough candidates that num_beams of them go on even if every end token is among them.
    const count = Math.min(Math.max(2, 1 + this.#endIds.size) * num_beams, totals.length)
    const picked = do_sample ? drawSeveral(totals, count, this.#random) : topIndices(totals, count)
    const best = totals[picked[0]!]!
    if (!this.#places.some(({ finished }) => finished)) checkChoice(best)
    else if (best === -Infinity) {
      this.done = true
      return { ids: [], from: [] }
    }
    const length = this.#running[0]!.ids.length + 1
    const candidates = picked.map((index) => {
      const from = Math.floor(index / V)
      const id = index % V
      const ends = this.#endIds.has(id) || length >= max_new_tokens
      return { from, ids: [...this.#running[from]!.ids, id], score: totals[index]!, ends }
    })

    const onward = candidates.map(({ score, ends }) => score + (ends ? WORST : 0))
    const kept = topIndices(onward, num_beams)
    const advance = {
      ids: kept.map((i) => candidates[i]!.ids.at(-1)!),
      from: kept.map((i) => candidates[i]!.from),
    }
    this.#running = kept.map((i) => ({ ids: candidates[i]!.ids, score: onward[i]! }))

    this.#finish(candidates, length)
    this.#canImprove &&= this.#mayImprove(length)
    const full = this.#places.every(({ finished }) => finished) && this.#settings.early_stopping === true
    this.done = !this.#canImprove || full || candidates.every(({ ends }) => ends)
    return advance
  }

  /** The best `num_return_sequences` answers, best first. */
  best(): number[][] {
    return this.#places.slice(0, this.#settings.num_return_sequences).map(({ ids }) => [...ids])
  }

  /** Candidates that end, if they are among the first num_beams, take a place where they beat what is there. */
  #finish(candidates: readonly (Beam & { ends: boolean })[], length: number): void {
    const { num_beams, length_penalty, early_stopping } = this.#settings
    const closed =
      (early_stopping === true && this.#places.every(({ finished }) => finished)) || !this.#canImprove
    const ending = candidates.map(({ ids, score, ends }, i): Place => {
      const finished = ends && i < num_beams
      return {
        ids,
        score: score / length ** length_penalty + (closed ? WORST : 0) + (finished ? 0 : WORST),
        finished,
      }
    })
    const all = [...this.#places, ...ending]
    this.#places = topIndices(
      all.map(({ score }) => score),
      num_beams,
    ).map((i) => all[i]!)
  }

  /** Whether the best running beam could still beat the worst finished one. */
  #mayImprove(length: number): boolean {
    const { early_stopping, length_penalty, max_new_tokens } = this.#settings
    const hoped = early_stopping === 'never' && length_penalty > 0 ? max_new_tokens : length
    const possible = this.#running[0]!.score / hoped ** length_penalty
    const worst = Math.min(...this.#places.map(({ score }) => score))
    return this.#places.some(({ finished }) => possible > (finished ? worst : WORST))
  }
}
