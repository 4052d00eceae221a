// Drawing by seed: fair from the first draw on.

import { expect, test } from 'vitest'
import { argmax, createRng, sample, sampleWithoutReplacement, topK } from '../../src/run/sampling.ts'

const CHANCES = [0.6, 0.3, 0.1]
const SCORES = Float32Array.from(CHANCES, Math.log)
const DRAWS = 6000
/** Chi-square with 2 degrees of freedom exceeds this once in 1,000 fair runs; the seeds are fixed, so it can't flicker. */
const CHI_SQUARE = 13.8

function chiSquare(counts: number[], chances: number[]): number {
  const total = counts.reduce((a, b) => a + b, 0)
  return counts.reduce((sum, count, i) => sum + (count - total * chances[i]!) ** 2 / (total * chances[i]!), 0)
}

function countDraws(draw: (seed: number) => number): number[] {
  const counts = CHANCES.map(() => 0)
  for (let seed = 0; seed < DRAWS; seed++) counts[draw(seed)]!++
  return counts
}

test('the first draw of neighbouring seeds follows the chances', () => {
  expect(
    chiSquare(
      countDraws((seed) => sample(SCORES, createRng(seed))),
      CHANCES,
    ),
  ).toBeLessThan(CHI_SQUARE)
})

test('the draws of one seed follow the chances', () => {
  const rng = createRng(7)
  expect(
    chiSquare(
      countDraws(() => sample(SCORES, rng)),
      CHANCES,
    ),
  ).toBeLessThan(CHI_SQUARE)
})

test('drawing several without replacement draws the first, and then the second, by chance', () => {
  const firsts = countDraws((seed) => sampleWithoutReplacement(SCORES, 2, createRng(seed))[0]!)
  expect(chiSquare(firsts, CHANCES)).toBeLessThan(CHI_SQUARE)
  const afterZero = [0, 0]
  for (let seed = 0; seed < DRAWS; seed++) {
    const [first, second] = sampleWithoutReplacement(SCORES, 2, createRng(seed))
    if (first === 0) afterZero[second! - 1]!++
  }
  expect(chiSquare(afterZero, [0.75, 0.25])).toBeLessThan(CHI_SQUARE)
})

test('what has no chance is never drawn', () => {
  const scores = Float32Array.of(-Infinity, 0, -Infinity)
  for (let seed = 0; seed < 100; seed++) expect(sample(scores, createRng(seed))).toBe(1)
})

test('the likeliest and the largest take the first of equals', () => {
  expect(argmax(Float32Array.of(1, 3, 3))).toBe(1)
  expect(topK([1, 3, 3, 2, 5], 4)).toEqual([4, 1, 2, 3])
  expect(topK([1], 3)).toEqual([0])
})
