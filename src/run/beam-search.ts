// Beam search of one prompt: log probabilities of each running beam -> the beams to continue, and finished hypotheses.
//
// transformers 5.18, GenerationMixin._beam_search and its helpers (generation/utils.py), for one item. Running beams
// still grow. The best `num_beams` finished hypotheses are kept with their length-normalized scores.

import type { GenerationSettings } from '../generation-settings.ts'
import { assertFiniteScore, type Rng, sampleWithoutReplacement, topK } from './sampling.ts'
import type { Continuation, Search } from './search.ts'

/** transformers' stand-in for minus infinity in scores that are added to. */
const NEG_INF = -1e9

interface Beam {
  ids: readonly number[]
  score: number
}

interface Hypothesis extends Beam {
  finished: boolean
}

export class BeamSearch implements Search {
  readonly #settings: GenerationSettings
  readonly #eosTokenIds: ReadonlySet<number>
  readonly #rng: Rng
  #running: Beam[]
  #finished: Hypothesis[]
  #canImprove = true
  done = false

  constructor(settings: GenerationSettings, eosTokenIds: readonly number[], rng: Rng) {
    this.#settings = settings
    this.#eosTokenIds = new Set(eosTokenIds)
    this.#rng = rng
    const { num_beams } = settings
    // All beams start equal, so only the first is scored in the first step.
    this.#running = Array.from({ length: num_beams }, (_, i) => ({ ids: [], score: i === 0 ? 0 : NEG_INF }))
    this.#finished = Array.from({ length: num_beams }, () => ({ ids: [], score: NEG_INF, finished: false }))
  }

  /** The ids that each running beam has generated so far. */
  get running(): readonly (readonly number[])[] {
    return this.#running.map(({ ids }) => ids)
  }

  /**
   * `logProbabilities[i]` [V] belong to running beam i, after the processors.
   * @throws RequestError `bad_settings` if no token is allowed and no hypothesis is finished.
   */
  advance(logProbabilities: readonly Float32Array[]): Continuation[] {
    const { num_beams, do_sample, max_new_tokens } = this.#settings
    const V = logProbabilities[0]!.length
    const totals = new Float32Array(num_beams * V)
    logProbabilities.forEach((scores, beam) => {
      const { score } = this.#running[beam]!
      const own = totals.subarray(beam * V, (beam + 1) * V)
      for (let id = 0; id < V; id++) own[id] = score + scores[id]!
    })
    // Enough candidates that num_beams of them can continue if every EOS token is among them.
    const count = Math.min(Math.max(2, 1 + this.#eosTokenIds.size) * num_beams, totals.length)
    const picked = do_sample ? sampleWithoutReplacement(totals, count, this.#rng) : topK(totals, count)
    const best = totals[picked[0]!]!
    if (!this.#finished.some(({ finished }) => finished)) assertFiniteScore(best)
    else if (best === -Infinity) {
      this.done = true
      return []
    }
    const length = this.#running[0]!.ids.length + 1
    const candidates = picked.map((index) => {
      const from = Math.floor(index / V)
      const id = index % V
      const ends = this.#eosTokenIds.has(id) || length >= max_new_tokens
      return { from, ids: [...this.#running[from]!.ids, id], score: totals[index]!, ends }
    })

    const runningScores = candidates.map(({ score, ends }) => score + (ends ? NEG_INF : 0))
    const kept = topK(runningScores, num_beams)
    const continued = kept.map((i) => ({ from: candidates[i]!.from, id: candidates[i]!.ids.at(-1)! }))
    this.#running = kept.map((i) => ({ ids: candidates[i]!.ids, score: runningScores[i]! }))

    this.#finish(candidates, length)
    this.#canImprove &&= this.#canStillImprove(length)
    const full = this.#finished.every(({ finished }) => finished) && this.#settings.early_stopping === true
    this.done = !this.#canImprove || full || candidates.every(({ ends }) => ends)
    return continued
  }

  /** The `num_return_sequences` best answers, best first. */
  answers(): number[][] {
    return this.#finished.slice(0, this.#settings.num_return_sequences).map(({ ids }) => [...ids])
  }

  /** Adds the finished candidates among the first num_beams; keeps the num_beams best hypotheses. */
  #finish(candidates: readonly (Beam & { ends: boolean })[], length: number): void {
    const { num_beams, length_penalty, early_stopping } = this.#settings
    const closed =
      (early_stopping === true && this.#finished.every(({ finished }) => finished)) || !this.#canImprove
    const ending = candidates.map(({ ids, score, ends }, i): Hypothesis => {
      const finished = ends && i < num_beams
      return {
        ids,
        score: score / length ** length_penalty + (closed ? NEG_INF : 0) + (finished ? 0 : NEG_INF),
        finished,
      }
    })
    const all = [...this.#finished, ...ending]
    this.#finished = topK(
      all.map(({ score }) => score),
      num_beams,
    ).map((i) => all[i]!)
  }

  /** Whether the best running beam can still beat the worst finished hypothesis. */
  #canStillImprove(length: number): boolean {
    const { early_stopping, length_penalty, max_new_tokens } = this.#settings
    const bestPossibleLength = early_stopping === 'never' && length_penalty > 0 ? max_new_tokens : length
    const possible = this.#running[0]!.score / bestPossibleLength ** length_penalty
    const worst = Math.min(...this.#finished.map(({ score }) => score))
    return this.#finished.some(({ finished }) => possible > (finished ? worst : NEG_INF))
  }
}
