// Waiting requests -> the next batch: the head of the queue and the requests directly behind it that have the same
// settings. Requests are never reordered, and none waits for a batch to fill.

import { completeSettings } from '../generation-settings.ts'
import type { InferenceRequest } from './request.ts'

/** Limits the KV cache, which every row keeps until it is answered: 30 MB a row with opt-2.7b. */
const MAX_ROWS = 32

/** What decides whether a request shares a batch. */
export interface BatchShape {
  /** Requests with an equal key may share a batch. A request without a key runs alone. */
  key?: string
  /** Rows of the language model that the request takes: its number of beams. */
  rows: number
}

/**
 * Sampling and streaming requests run alone. Sampled tokens come from one seeded generator, so they would depend on the
 * order of rows; a stream has one reader. A request with invalid settings also runs alone, so that only it fails.
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

/** Removes the next batch from `waiting` and returns it: at least one request, at most `maxBatch`. */
export function takeBatch<T extends BatchShape>(waiting: T[], maxBatch: number): T[] {
  const key = waiting[0]?.key
  let rows = 0
  const end = waiting.findIndex((request, index) => {
    rows += request.rows
    const hasSameKey = key !== undefined && request.key === key
    return index > 0 && (!hasSameKey || index >= maxBatch || rows > MAX_ROWS)
  })
  return waiting.splice(0, end < 0 ? waiting.length : end)
}
