// An abort signal for one call, which also follows signals that outlive the call.
//
// AbortSignal.any leaks memory in the signals that outlive it (nodejs/node#54614 and #55351, on Node 20).

import { setMaxListeners } from 'node:events'

export interface Stop {
  readonly signal: AbortSignal
  abort(reason?: unknown): void
  /** Stops following the other signals. */
  end(): void
}

/** @example const stop = stopWith(request.signal, closing); await fetch(url, { signal: stop.signal }).finally(stop.end) */
export function stopWith(...given: readonly (AbortSignal | undefined)[]): Stop {
  const own = new AbortController()
  const others = given.filter((other) => other !== undefined)
  const follow = () => own.abort(others.find(({ aborted }) => aborted)?.reason)
  for (const other of others) {
    // There is a listener for each current call, and Node warns of more than ten.
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
