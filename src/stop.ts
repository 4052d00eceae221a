// The signal of one call, which others that live longer abort as well, until the call ends.
//
// AbortSignal.any would leave something of each call with those others (nodejs/node#54614 and #55351, on Node 20).

import { setMaxListeners } from 'node:events'

export interface Stop {
  readonly signal: AbortSignal
  abort(reason?: unknown): void
  /** From now on the others do not matter. */
  end(): void
}

/** @example const stop = stopWith(asker, closing); await fetch(url, { signal: stop.signal }).finally(stop.end) */
export function stopWith(...given: readonly (AbortSignal | undefined)[]): Stop {
  const own = new AbortController()
  const others = given.filter((other) => other !== undefined)
  const follow = () => own.abort(others.find(({ aborted }) => aborted)?.reason)
  for (const other of others) {
    // One for each call under way: Node warns of more than ten.
    setMaxListeners(0, other)
    other.addEventListener('abort', follow)
  }
  if (others.some(({ aborted }) => aborted)) follow()
  return {
    signal: own.signal,
    abort: (reason) => own.abort(reason),
    end() {
      for (const other of others) other.removeEventListener('abort', follow)
    },
  }
}
