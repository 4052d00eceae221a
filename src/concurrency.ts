// Limits on concurrent work: one at a time for each key, or a few at a time of a list.

/** @example const mutex = keyedMutex(); await mutex.run(['thread 7', 'channel 2'], () => answer(question)) */
export function keyedMutex() {
  const last = new Map<string, Promise<unknown>>()
  return {
    run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
      // Waits for the previous holder of each key. Callers wait for earlier callers only, so they cannot deadlock.
      const result = Promise.all(keys.map((key) => last.get(key))).then(work)
      const ended = Promise.allSettled([result])
      for (const key of keys) last.set(key, ended)
      void ended.then(() => {
        for (const key of keys) if (last.get(key) === ended) last.delete(key)
      })
      return result
    },
  }
}

/**
 * Runs `work` for each item, at most `limit` at once, in the order of the items. The first failure aborts the signal of
 * the others and is thrown once they have ended.
 */
export async function forEachLimit<T>(
  items: readonly T[],
  limit: number,
  work: (item: T, stop: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController()
  let next = 0
  let failure: { error: unknown } | undefined
  const worker = async () => {
    while (next < items.length && !failure) {
      await work(items[next++]!, stop.signal).catch((error: unknown) => {
        failure ??= { error }
        stop.abort()
      })
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  if (failure) throw failure.error
}

/** Promise.withResolvers of Node 22. */
export function withResolvers<T>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
