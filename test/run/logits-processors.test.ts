// top_k and top_p against plain sorts of the whole vocabulary.

import { expect, test } from 'vitest'
import { completeSettings } from '../../src/generation-settings.ts'
import { processorsFor, softmax } from '../../src/run/logits-processors.ts'
import { createRng } from '../../src/run/sampling.ts'

const CONTEXT = { ids: [], length: 0, newTokens: 0 }

/** `distinct`: how many different scores there are; the smallest of them are excluded already. */
function scoresOf(length: number, distinct: number, seed: number): Float32Array {
  const rng = createRng(seed)
  return Float32Array.from({ length }, () => {
    const value = Math.floor(rng() * distinct)
    return value < distinct / 4 ? -Infinity : value / 7
  })
}

function processed(scores: Float32Array, settings: object): Float32Array {
  const all = completeSettings({ do_sample: true, top_k: 0, ...settings })
  for (const process of processorsFor(all, [1])) process(scores, CONTEXT)
  return scores
}

const CASES = [1, 2, 3, 50, 300].flatMap((length) =>
  [5, 40, 10_000].map((distinct) => ({ length, distinct })),
)

test.each(CASES)('top_k keeps the k largest, and all that equal the k-th: %o', ({ length, distinct }) => {
  for (const top_k of [1, 2, 7, 49, 299]) {
    const scores = scoresOf(length, distinct, top_k)
    const least = top_k < length ? scores.slice().sort()[length - top_k]! : -Infinity
    const expected = scores.map((score) => (score < least ? -Infinity : score))
    expect(processed(scores, { top_k })).toEqual(expected)
  }
})

test.each(CASES)('top_p drops the least likely up to 1 - p: %o', ({ length, distinct }) => {
  for (const top_p of [0.05, 0.5, 0.9]) {
    const scores = scoresOf(length, distinct, 3)
    if (scores.every((score) => score === -Infinity)) scores[0] = 1
    const expected = scores.slice()
    const probabilities = softmax(scores)
    const order = [...scores.keys()].sort((a, b) => scores[a]! - scores[b]!)
    let sum = 0
    for (const id of order.slice(0, -1)) {
      sum += probabilities[id]!
      if (sum > 1 - top_p) break
      expected[id] = -Infinity
    }
    expect(processed(scores, { top_p })).toEqual(expected)
  }
})
