// Time of one call elsewhere: what is left of it, what ends it, and waiting within it.

import { cancelled, isGlimpseError } from '../errors.ts'
import { stopWith } from '../stop.ts'
import { deadlineError } from './codec.ts'

export interface Deadline {
  remainingMs(): number
  /** Aborted by the deadline or by whoever asked. */
  signal: AbortSignal
  /** @throws BusyError `deadline`, `cancelled` once either has come */
  throwIfEnded(): void
  /** Resolves later, or at once when the time is over. */
  wait(ms: number): Promise<void>
  end(): void
}

/** setTimeout takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** @param askers any of them ends it */
export function startDeadline(deadlineMs: number, ...askers: readonly (AbortSignal | undefined)[]): Deadline {
  const endsAt = performance.now() + deadlineMs
  const { signal, abort, end } = stopWith(...askers)
  const timer = setTimeout(() => abort(deadlineError()), Math.min(deadlineMs, MAX_TIMER_MS))
  return {
    remainingMs: () => Math.max(0, endsAt - performance.now()),
    signal,
    throwIfEnded() {
      if (signal.aborted) throw isGlimpseError(signal.reason) ? signal.reason : cancelled()
    },
    wait: (ms) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve()
        const done = () => {
          clearTimeout(waiting)
          signal.removeEventListener('abort', done)
          resolve()
        }
        const waiting = setTimeout(done, ms)
        signal.addEventListener('abort', done)
      }),
    end() {
      clearTimeout(timer)
      end()
    },
  }
}
