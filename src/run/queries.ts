// vision [B, P, Dv], and the text where the queries read one -> outputs of the graph `queries` by name: queries
// [B, Q, Dq], prefix [B, Q, D].

import { QUERIES } from '../artifact/contract.ts'
import type { Session } from './session.ts'
import { Tensor } from './tensor.ts'

/** A graph's outputs by name, of one picture [1, ...] or of several [B, ...]. */
export type Outputs = Readonly<Record<string, Tensor>>

/** `texts`: for each picture, the ids of the text that its queries read. `names`: the outputs to compute. */
export async function runQueries(
  session: Session,
  vision: Tensor,
  names: readonly string[],
  texts?: readonly (readonly number[])[],
): Promise<Outputs> {
  const feeds = { [QUERIES.vision]: vision, ...(texts && textFeeds(texts)) }
  return await session.run(feeds, names)
}

/** Inputs of a graph that reads texts, padded at the end: the Q-Former's positions count padding. */
export function textFeeds(texts: readonly (readonly number[])[]): Record<string, Tensor> {
  const length = Math.max(...texts.map((ids) => ids.length))
  const padded = (ids: readonly number[], mask: boolean) =>
    Array.from({ length }, (_, i) => (mask ? Number(i < ids.length) : (ids[i] ?? 0)))
  const dims = [texts.length, length]
  return {
    [QUERIES.text_ids]: Tensor.int64(
      texts.flatMap((ids) => padded(ids, false)),
      dims,
    ),
    [QUERIES.text_mask]: Tensor.int64(
      texts.flatMap((ids) => padded(ids, true)),
      dims,
    ),
  }
}
