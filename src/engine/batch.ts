// Waiting requests -> the next batch: the requests at the head of the queue, as many as fit. Requests are never reordered,
// and none waits for a batch to fill. Each row of a batch has its own settings, so any requests may share one.

/** Limits the KV cache, which every row keeps until it is answered: 30 MB a row with opt-2.7b. */
const MAX_ROWS = 32

export interface BatchItem {
  /** Rows of the language model that the request takes: its number of beams. */
  rows: number
  /** Set for a request that must not share a batch. */
  isAlone?: boolean
}

/** Removes the next batch from `waiting` and returns it: at least one request, at most `maxBatch`. */
export function takeBatch<T extends BatchItem>(waiting: T[], maxBatch: number): T[] {
  let rows = 0
  const end = waiting.findIndex((request, index) => {
    rows += request.rows
    const isApart = request.isAlone || waiting[0]!.isAlone
    return index > 0 && (isApart || index >= maxBatch || rows > MAX_ROWS)
  })
  return waiting.splice(0, end < 0 ? waiting.length : end)
}
