// Which of the waiting asks go to the model together: the first, and those right behind it that are alike. Nobody is
// overtaken, and nobody waits for company.

import { completeSettings } from '../run/settings.ts'
import type { InferenceRequest } from './request.ts'

/** Keys and values of each row stay in memory while it is answered: 30 MB with opt-2.7b. */
const MAX_ROWS = 32

/** How an ask may go with others. */
export interface BatchShape {
  /** Equal for asks that are alike; undefined for one that goes alone. */
  key?: string
  /** Rows of the language model that it takes. */
  rows: number
}

/**
 * Drawing at random goes by a seed, which the order of rows must not touch; a stream is for one. Whatever cannot be
 * read goes alone, so that it fails alone.
 */
export function batchShapeOf({ settings = {} }: InferenceRequest, isStreaming: boolean): BatchShape {
  try {
    const complete = completeSettings(settings)
    const { do_sample, num_beams: rows } = complete
    return do_sample || isStreaming ? { rows } : { key: JSON.stringify(complete), rows }
  } catch {
    return { rows: 1 }
  }
}

/** Takes the next asks out of `waiting`, at least one and at most `most`. */
export function takeBatch<T extends BatchShape>(waiting: T[], most: number): T[] {
  const [first] = waiting
  let rows = 0
  const end = waiting.findIndex((one, at) => {
    rows += one.rows
    const isAlike = first!.key !== undefined && one.key === first!.key
    return at > 0 && (!isAlike || at >= most || rows > MAX_ROWS)
  })
  return waiting.splice(0, end < 0 ? waiting.length : end)
}
