// A picture and texts -> how well each text matches it, best first.
//
// Matching reads picture and text together and gives a probability (ITM). The contrastive score compares a vector of the
// text with the vectors of the picture (ITC), and costs little. Li et al. 2023, section 3.1.

import { z } from 'zod'
import { MATCHING, TEXT, VISION } from '../../artifact/contract.ts'
import { contrastiveScore, matchProbability, runMatching, runTexts } from '../../run/matching.ts'
import { itemsPerRun } from '../../run/micro-batch.ts'
import type { Model } from '../../run/model.ts'
import { splitRows } from '../../run/tensor.ts'
import type { BaseRequest } from '../request.ts'
import type { ActiveRequest, Task } from './task.ts'
import { encodeText, type TextProcessing, textProcessing, textsField } from './text.ts'

export interface MatchFields {
  /** At most MAX_TEXTS. */
  texts: readonly string[]
  /** What decides the order. `contrastive` gives no probabilities, and takes a small part of the time. Default: probability. */
  rank_by?: 'probability' | 'contrastive'
  /** Default: none. */
  text_processing?: TextProcessing
}

export interface Match {
  text: string
  /** That the text is about the picture, by both read together. Absent if ranked by the contrastive score. */
  probability?: number
  /** What the probability is the softmax of: no match, match. */
  logits?: number[]
  /** How alike the two are, from -1 to 1: the largest cosine. It has no meaning by itself, only beside that of other texts. */
  contrastive: number
}

export interface Prepared {
  fields: MatchFields
  ids: number[][]
}

export interface MatchResult {
  text: string
  matches: Match[]
}

/** As many as LAVIS reads beside a picture when it ranks (k_test). */
export const MAX_TEXTS = 128

export const match = {
  fields: z.strictObject({
    texts: textsField(MAX_TEXTS),
    rank_by: z.enum(['probability', 'contrastive']).optional(),
    text_processing: textProcessing.optional(),
  }),
  result: z.object({
    text: z.string(),
    matches: z.array(
      z.object({
        text: z.string(),
        probability: z.number().optional(),
        logits: z.array(z.number()).optional(),
        contrastive: z.number(),
      }),
    ),
  }),
  sample: { texts: ['a picture'] } as MatchFields,
  prepare: (model: Model, fields: BaseRequest & MatchFields) => ({
    fields,
    ids: fields.texts.map((text) => encodeText(model, text, fields.text_processing)),
  }),
  reads: ({ fields }) =>
    isContrastive(fields) ? [MATCHING.image_embeds] : [MATCHING.image_embeds, VISION.matching],
  async run(model, requests) {
    const embeds = await embedTexts(
      model,
      requests.flatMap(({ prepared }) => prepared.ids),
    )
    for (const one of requests) {
      if (!one.isActive()) continue
      try {
        await answer(model, one, embeds)
      } catch (error) {
        one.finish({ error })
      }
    }
  },
} satisfies Task<MatchFields, MatchResult, Prepared>

function isContrastive({ rank_by }: MatchFields): boolean {
  return rank_by === 'contrastive'
}

async function answer(
  model: Model,
  one: ActiveRequest<Prepared, MatchResult>,
  embeds: ReadonlyMap<string, Float32Array>,
): Promise<void> {
  const { fields, ids } = one.prepared
  const began = performance.now()
  const image = await one.outputs![MATCHING.image_embeds]!.floats()
  const logits = isContrastive(fields) ? undefined : await matchingLogits(model, one)
  if (!one.isActive()) return
  const matches = fields.texts.map((text, i): Match => {
    const contrastive = contrastiveScore(image, embeds.get(keyOf(ids[i]!))!)
    const own = logits?.[i]
    return { text, ...(own && { probability: matchProbability(own), logits: [...own] }), contrastive }
  })
  // Equal probabilities occur: both sides of a softmax saturate.
  matches.sort((a, b) => (b.probability ?? 0) - (a.probability ?? 0) || b.contrastive - a.contrastive)
  one.clock.record('tokens', performance.now() - began)
  one.finish({ own: { text: matches[0]!.text, matches } })
}

/** The matching logits [2] of each text. Many texts share a run, and the keys and values of the picture. */
async function matchingLogits(
  model: Model,
  one: ActiveRequest<Prepared, MatchResult>,
): Promise<Float32Array[]> {
  const { ids } = one.prepared
  const { count, width } = model.manifest.matching!
  const perRun = (longest: number) => itemsPerRun((count + longest) * width, model.provider)
  const vision = one.outputs![VISION.matching]!
  const logits: Float32Array[] = []
  for (const group of bySimilarLength(ids, perRun)) {
    if (!one.isActive()) return logits
    const texts = group.map((i) => ids[i]!)
    const outputs = await runMatching(model.sessions[MATCHING.graph]!, vision, texts, [MATCHING.itm_logits])
    const all = await outputs[MATCHING.itm_logits]!.floats()
    for (const [row, i] of group.entries()) logits[i] = all.slice(2 * row, 2 * row + 2)
  }
  return logits
}

/** The embed [E] that each text is compared by, by keyOf its ids. Equal texts are read once. */
export async function embedTexts(
  model: Model,
  texts: readonly (readonly number[])[],
): Promise<Map<string, Float32Array>> {
  const distinct = [...new Map(texts.map((ids) => [keyOf(ids), ids])).values()]
  const { width, embedding_width } = model.manifest.matching!
  const embeds = new Map<string, Float32Array>()
  const perRun = (longest: number) => itemsPerRun(longest * width, model.provider)
  for (const group of bySimilarLength(distinct, perRun)) {
    const own = group.map((i) => distinct[i]!)
    const outputs = await runTexts(model.sessions[TEXT.graph]!, own, [TEXT.text_embeds])
    const rows = await splitRows(outputs[TEXT.text_embeds]!)
    for (const [row, ids] of own.entries())
      embeds.set(keyOf(ids), (await rows[row]!.floats()).slice(0, embedding_width))
  }
  return embeds
}

export function keyOf(ids: readonly number[]): string {
  return ids.join()
}

/** Indices of texts in groups for one run each, those of similar length together: padding costs as much as tokens. */
function bySimilarLength(
  texts: readonly (readonly number[])[],
  perRun: (longest: number) => number,
): number[][] {
  const order = texts.map((_, i) => i).sort((a, b) => texts[b]!.length - texts[a]!.length)
  const groups: number[][] = []
  for (let at = 0; at < order.length; ) {
    const size = perRun(texts[order[at]!]!.length)
    groups.push(order.slice(at, at + size))
    at += size
  }
  return groups
}
