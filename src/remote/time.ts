// Time of one call elsewhere: what is left of it, what ends it, and waiting within it.

import type { BusyError } from '../errors.ts'
import { cancelledError, deadlineError } from './wire.ts'

export interface Limit {
  leftMs(): number
  /** Aborted by the deadline or by whoever asked. */
  signal: AbortSignal
  /** @throws BusyError `deadline`, `cancelled` once either has come */
  check(): void
  /** Resolves later, or at once when the time is over. */
  wait(ms: number): Promise<void>
  end(): void
}

/** setTimeout takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function limitOf(deadlineMs: number, asker: AbortSignal | undefined): Limit {
  const endsAt = performance.now() + deadlineMs
  const ended = new AbortController()
  const timer = setTimeout(() => ended.abort(deadlineError()), Math.min(deadlineMs, MAX_TIMER_MS))
  const onAbort = () => ended.abort(cancelledError())
  if (asker?.aborted) onAbort()
  asker?.addEventListener('abort', onAbort, { once: true })
  return {
    leftMs: () => Math.max(0, endsAt - performance.now()),
    signal: ended.signal,
    check() {
      if (ended.signal.aborted) throw ended.signal.reason as BusyError
    },
    wait: (ms) =>
      new Promise((resolve) => {
        if (ended.signal.aborted) return resolve()
        const done = () => {
          clearTimeout(waiting)
          ended.signal.removeEventListener('abort', done)
          resolve()
        }
        const waiting = setTimeout(done, ms)
        ended.signal.addEventListener('abort', done)
      }),
    end() {
      clearTimeout(timer)
      asker?.removeEventListener('abort', onAbort)
    },
  }
}
