// Pictures and texts with the graphs `matching` and `text` -> features of either, and how well they match.

import { MATCHING } from '../artifact/contract.ts'
import { softmax } from './logits-processors.ts'
import { type Outputs, textFeeds } from './queries.ts'
import type { Session } from './session.ts'
import { Tensor } from './tensor.ts'

/** vision [B, P, Dv] -> query_hidden [B, Q, Dq] and image_embeds [B, Q, E] of the pictures alone. */
export async function runImageEmbeds(
  session: Session,
  vision: Tensor,
  names: readonly string[],
): Promise<Outputs> {
  const dims = [vision.dims[0]!, 1]
  // No query attends to a text whose mask is 0.
  const none = Tensor.int64(new Array<number>(dims[0]!).fill(0), dims)
  const feeds = { [MATCHING.vision]: vision, [MATCHING.text_ids]: none, [MATCHING.text_mask]: none }
  return await session.run(feeds, names)
}

/** vision [1, P, Dv] of one picture, ids of B texts -> itm_logits [B, 2], query_hidden [B, Q, Dq] beside each text. */
export async function runMatching(
  session: Session,
  vision: Tensor,
  texts: readonly (readonly number[])[],
  names: readonly string[],
): Promise<Outputs> {
  return await session.run({ [MATCHING.vision]: vision, ...textFeeds(texts) }, names)
}

/** Ids of B texts -> text_hidden [B, T, Dq], text_embeds [B, T, E]; rows of padding mean nothing. */
export async function runTexts(
  session: Session,
  texts: readonly (readonly number[])[],
  names: readonly string[],
): Promise<Outputs> {
  return await session.run(textFeeds(texts), names)
}

/** The probability of a match: softmax of matching logits [2], which are means over the queries. */
export function matchProbability(logits: Float32Array): number {
  return softmax(logits)[1]!
}

/**
 * How alike a picture and a text are, from -1 to 1: the largest cosine of a query. image_embeds [Q, E] and the text's first
 * embed [E], all of length 1.
 */
export function contrastiveScore(imageEmbeds: Float32Array, textEmbed: Float32Array): number {
  const width = textEmbed.length
  let best = -Infinity
  for (let at = 0; at < imageEmbeds.length; at += width) {
    let product = 0
    for (let i = 0; i < width; i++) product += imageEmbeds[at + i]! * textEmbed[i]!
    best = Math.max(best, product)
  }
  return best
}
