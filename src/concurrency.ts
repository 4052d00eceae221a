// Whose turn it is: work that must not overlap is done one after another, much of a kind a few at a time.

export interface KeyedMutex {
  run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>
}

/** @example const mutex = keyedMutex(); await mutex.run(['thread 7', 'channel 2'], () => answer(question)) */
export function keyedMutex(): KeyedMutex {
  const last = new Map<string, Promise<unknown>>()
  return {
    run(keys, work) {
      // Whoever came before under any of the names; nobody waits for somebody later, so nobody waits for ever.
      const mine = Promise.all(keys.map((name) => last.get(name))).then(work)
      const ended = mine.then(
        () => {},
        () => {},
      )
      for (const name of keys) last.set(name, ended)
      void ended.then(() => {
        for (const name of keys) if (last.get(name) === ended) last.delete(name)
      })
      return mine
    },
  }
}

/**
 * Does `work` for each item, so many at once, begun in their order. The first failure aborts the signal the others were
 * given, and is thrown when they have ended.
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

/** Promise.withResolvers, which Node has from 22 on. */
export function withResolvers<T>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
