// Scores [V] -> ids: the largest, or sampled with a seeded generator.

import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64'
import { mersenne } from 'pure-rand/generator/mersenne'
import { RequestError } from '../errors.ts'
import { softmax } from './logits-processors.ts'

/** Returns a number in [0, 1). */
export type Rng = () => number

/** The same seed gives the same numbers. */
export function createRng(seed: number): Rng {
  // Neighbouring seeds must not start with similar numbers. The Mersenne Twister spreads a seed over its whole state.
  const generator = mersenne(seed)
  return () => uniformFloat64(generator)
}

/** An infinite score of the chosen token means that no token was allowed. @throws RequestError `bad_settings`. */
export function assertFiniteScore(score: number): void {
  if (Number.isFinite(score)) return
  throw new RequestError(
    'bad_settings',
    'The settings allow no next token. Lower max_new_tokens, no_repeat_ngram_size, min_length or min_new_tokens.',
  )
}

/** Index of the largest score; the first one if several are equal. */
export function argmax(scores: Float32Array): number {
  let best = 0
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i
  return best
}

/** One index, sampled by softmax probability. */
export function sample(scores: Float32Array, rng: Rng): number {
  const probabilities = softmax(scores)
  let rest = rng()
  let last = 0
  for (let i = 0; i < probabilities.length; i++) {
    const probability = probabilities[i]!
    if (probability === 0) continue
    last = i
    rest -= probability
    if (rest < 0) return i
  }
  return last
}

/** Indices of the `count` largest scores, largest first; equal scores in index order. One pass, for small counts. */
export function topK(scores: ArrayLike<number>, count: number): number[] {
  const best: number[] = []
  for (let i = 0; i < scores.length; i++) {
    if (best.length === count && !(scores[i]! > scores[best[count - 1]!]!)) continue
    let at = best.length
    while (at > 0 && scores[i]! > scores[best[at - 1]!]!) at--
    best.splice(at, 0, i)
    if (best.length > count) best.pop()
  }
  return best
}

/**
 * `count` different indices, sampled one after another by softmax probability. Adding Gumbel noise and taking the
 * largest gives the same distribution (Kool et al. 2019, arXiv 1903.06059).
 */
export function sampleWithoutReplacement(scores: ArrayLike<number>, count: number, rng: Rng): number[] {
  const noisy = new Float64Array(scores.length).fill(-Infinity)
  for (let i = 0; i < noisy.length; i++) {
    // An excluded one stays so with any noise: of 5 beams with 50,304 tokens each, top_k leaves 250.
    if (scores[i] !== -Infinity) noisy[i] = scores[i]! - Math.log(-Math.log(rng() || Number.MIN_VALUE))
  }
  return topK(noisy, count)
}
