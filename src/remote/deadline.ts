// A deadline and the signals of callers -> one signal, what is left of the time, and waits that end with it.

import { cancelled, isGlimpseError } from '../errors.ts'
import { stopWith } from '../stop.ts'
import { deadlineError } from './codec.ts'

export interface Deadline {
  remainingMs(): number
  /** Aborted by the deadline or by one of the callers. */
  signal: AbortSignal
  /** @throws BusyError `deadline`, `cancelled` once `signal` is aborted */
  throwIfEnded(): void
  /** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
  wait(ms: number): Promise<void>
  /** Removes the timer and the listeners. */
  end(): void
}

/** The longest that setTimeout takes. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function startDeadline(
  deadlineMs: number,
  ...callers: readonly (AbortSignal | undefined)[]
): Deadline {
  const endMs = performance.now() + deadlineMs
  const { signal, abort, end } = stopWith(...callers)
  const timer = setTimeout(() => abort(deadlineError()), Math.min(deadlineMs, MAX_TIMER_MS))
  return {
    remainingMs: () => Math.max(0, endMs - performance.now()),
    signal,
    throwIfEnded() {
      if (signal.aborted) throw isGlimpseError(signal.reason) ? signal.reason : cancelled()
    },
    wait: (ms) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve()
        const stop = () => {
          clearTimeout(pause)
          signal.removeEventListener('abort', stop)
          resolve()
        }
        const pause = setTimeout(stop, ms)
        signal.addEventListener('abort', stop)
      }),
    end() {
      clearTimeout(timer)
      end()
    },
  }
}
