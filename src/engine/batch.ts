// Waiting requests -> the next batch: the requests at the head of the queue, as many as fit. Requests are never reordered,
// and none waits for a batch to fill. Each row of a batch has its own settings, so any requests may share one.

export interface BatchItem {
  /** Set for a request that must not share a batch. */
  isAlone?: boolean
}

/** Removes the next batch from `waiting` and returns it: at least one request, at most `maxBatch`. */
export function takeBatch<T extends BatchItem>(waiting: T[], maxBatch: number): T[] {
  const isApart = (request: T) => request.isAlone || waiting[0]?.isAlone
  const end = waiting.findIndex((request, index) => index > 0 && (index >= maxBatch || isApart(request)))
  return waiting.splice(0, end < 0 ? waiting.length : end)
}
