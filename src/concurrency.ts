// Concurrent work: one at a time for each key; a promise that is resolved from outside.

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

/** Runs `work` for each item, `count` at a time, in order. Starts no more once one has failed. @throws the first error */
export async function inParallel<T>(
  items: Iterable<T>,
  count: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]()
  let hasFailed = false
  const worker = async () => {
    for (let next = rest.next(); !next.done && !hasFailed; next = rest.next()) {
      await work(next.value).catch((error: unknown) => {
        hasFailed = true
        throw error
      })
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: count }, worker))
  for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason
}
