// Choosing ids by scores: the likeliest, or at random by a seed.

import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64'
import { mersenne } from 'pure-rand/generator/mersenne'
import { RequestError } from '../errors.ts'
import { softmax } from './logits-processors.ts'

/** A number in [0, 1). */
export type Rng = () => number

export function createRng(seed: number): Rng {
  // Small seeds that differ by one must not begin alike: the Mersenne twister spreads its seed over its whole state.
  const generator = mersenne(seed)
  return () => uniformFloat64(generator)
}

/** Of what was chosen: an infinite score means that there was nothing to choose from. Throws RequestError `bad_settings`. */
export function assertFiniteScore(score: number): void {
  if (Number.isFinite(score)) return
  throw new RequestError(
    'bad_settings',
    'Expected a token that may come next but the settings leave none. Ask for fewer tokens, or loosen no_repeat_ngram_size, min_length and min_new_tokens.',
  )
}

/** Index of the largest score; the first of equals. */
export function argmax(scores: Float32Array): number {
  let best = 0
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i
  return best
}

/** One index, each with its softmax probability. */
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

/** The indices of the `count` largest, largest first, the first of equals first. One pass: `count` is small. */
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
 * `count` different indices, drawn one after another by softmax probability: adding Gumbel noise and taking the
 * largest is the same draw (Kool et al. 2019, arXiv 1903.06059).
 */
export function sampleWithoutReplacement(scores: ArrayLike<number>, count: number, rng: Rng): number[] {
  const noisy = Float64Array.from(scores, (score) => score - Math.log(-Math.log(rng() || Number.MIN_VALUE)))
  return topK(noisy, count)
}
