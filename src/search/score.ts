// Vectors of two pictures, or of a picture and a text -> how alike they are, from -1 to 1. Vectors have length 1.
//
// Li et al. 2023 (arXiv 2301.12597), section 3.1: the score of a text is that of the query that is most alike. Queries are
// ordered, so two pictures are compared query by query.

import { valuesOfHalves } from '../half.ts'

/** Picture [Q, E] in half precision and text [E]: the largest cosine of a query, the contrastive score of run/matching.ts. */
export function textSimilarity(picture: Uint16Array, text: Float32Array): number {
  const values = valuesOfHalves()
  const width = text.length
  let best = Number.NEGATIVE_INFINITY
  for (let at = 0; at < picture.length; at += width) {
    let product = 0
    for (let i = 0; i < width; i++) product += values[picture[at + i]!]! * text[i]!
    if (product > best) best = product
  }
  return best
}

/** Two pictures [Q, E] in half precision: the mean over the queries of the cosine of query q with query q. */
export function pictureSimilarity(one: Uint16Array, other: Uint16Array, count: number): number {
  const values = valuesOfHalves()
  let product = 0
  for (let i = 0; i < one.length; i++) product += values[one[i]!]! * values[other[i]!]!
  return product / count
}

/** The normalised mean [E] of [Q, E], for a first choice of candidates. */
export function meanVector(picture: Uint16Array, width: number): Float32Array {
  const values = valuesOfHalves()
  const mean = new Float32Array(width)
  for (const [at, half] of picture.entries()) mean[at % width]! += values[half]!
  const length = Math.hypot(...mean)
  return length === 0 ? mean : mean.map((value) => value / length)
}
