// A picture and labels -> the labels by how well they match it, best first: matching, with each label in a template.

import type { Engine, Hooks } from './engine.ts'
import type { BaseRequest } from './request.ts'
import { MAX_TEXTS, type MatchFields } from './tasks/match.ts'

export interface LabelScore {
  label: string
  score: number
}

export interface ClassifyOptions extends Pick<MatchFields, 'rank_by' | 'text_processing'>, Hooks {
  /** `{}` stands for the label. Default: the label alone. */
  template?: string
  deadlineMs?: number
}

/** @throws what a request of `match` does */
export async function classify(
  engine: Engine,
  picture: Pick<BaseRequest, 'image' | 'picture'>,
  labels: readonly string[],
  { template = '{}', rank_by = 'contrastive', text_processing, deadlineMs, ...hooks }: ClassifyOptions = {},
): Promise<LabelScore[]> {
  const labelOf = new Map(labels.map((label) => [template.replaceAll('{}', () => label), label]))
  const texts = [...labelOf.keys()]
  const scores: LabelScore[] = []
  for (let at = 0; at < texts.length; at += MAX_TEXTS) {
    const request = { task: 'match', texts: texts.slice(at, at + MAX_TEXTS), rank_by } as const
    const { matches } = await engine.answer<'match'>(
      { ...request, ...picture, text_processing, deadlineMs },
      hooks,
    )
    for (const { text, probability, contrastive } of matches)
      scores.push({ label: labelOf.get(text)!, score: probability ?? contrastive })
  }
  return scores.sort((a, b) => b.score - a.score)
}
