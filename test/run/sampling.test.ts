// Sampling with a seed follows the probabilities from the first number on.

import { expect, test } from 'vitest'
import { argmax, createRng, sample, sampleWithoutReplacement, topK } from '../../src/run/sampling.ts'

const PROBABILITIES = [0.6, 0.3, 0.1]
const SCORES = Float32Array.from(PROBABILITIES, Math.log)
const SAMPLES = 6000
/** Chi-square with 2 degrees of freedom exceeds this once in 1,000 fair runs; the seeds are fixed, so the result is the same in every run. */
const CHI_SQUARE = 13.8

function chiSquare(counts: number[], probabilities: number[]): number {
  const total = counts.reduce((a, b) => a + b, 0)
  return counts.reduce(
    (sum, count, i) => sum + (count - total * probabilities[i]!) ** 2 / (total * probabilities[i]!),
    0,
  )
}

function countSamples(sampleWith: (seed: number) => number): number[] {
  const counts = PROBABILITIES.map(() => 0)
  for (let seed = 0; seed < SAMPLES; seed++) counts[sampleWith(seed)]!++
  return counts
}

test('the first samples of neighbouring seeds follow the probabilities', () => {
  expect(
    chiSquare(
      countSamples((seed) => sample(SCORES, createRng(seed))),
      PROBABILITIES,
    ),
  ).toBeLessThan(CHI_SQUARE)
})

test('the samples of one seed follow the probabilities', () => {
  const rng = createRng(7)
  expect(
    chiSquare(
      countSamples(() => sample(SCORES, rng)),
      PROBABILITIES,
    ),
  ).toBeLessThan(CHI_SQUARE)
})

test('sampling without replacement takes the first and the second index by probability', () => {
  const firsts = countSamples((seed) => sampleWithoutReplacement(SCORES, 2, createRng(seed))[0]!)
  expect(chiSquare(firsts, PROBABILITIES)).toBeLessThan(CHI_SQUARE)
  const afterZero = [0, 0]
  for (let seed = 0; seed < SAMPLES; seed++) {
    const [first, second] = sampleWithoutReplacement(SCORES, 2, createRng(seed))
    if (first === 0) afterZero[second! - 1]!++
  }
  expect(chiSquare(afterZero, [0.75, 0.25])).toBeLessThan(CHI_SQUARE)
})

test('an index with probability 0 is never sampled', () => {
  const scores = Float32Array.of(-Infinity, 0, -Infinity)
  for (let seed = 0; seed < 100; seed++) expect(sample(scores, createRng(seed))).toBe(1)
})

test('argmax and topK take the first of equal scores', () => {
  expect(argmax(Float32Array.of(1, 3, 3))).toBe(1)
  expect(topK([1, 3, 3, 2, 5], 4)).toEqual([4, 1, 2, 3])
  expect(topK([1], 3)).toEqual([0])
})
