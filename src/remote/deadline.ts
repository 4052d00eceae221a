// A deadline and the signals of callers -> one signal, what is left of the time, and waits that end with it.

import { cancelled, isGlimpseError } from '../errors.ts'
import { stopWith } from '../stop.ts'
import { startTimer } from '../time.ts'
import { deadlineError } from './codec.ts'

export type Deadline = ReturnType<typeof startDeadline>

export function startDeadline(deadlineMs: number, ...callers: readonly (AbortSignal | undefined)[]) {
  const endMs = performance.now() + deadlineMs
  const { signal, abort, end } = stopWith(...callers)
  const timer = startTimer(deadlineMs, () => abort(deadlineError()))
  return {
    remainingMs: () => Math.max(0, endMs - performance.now()),
    /** Aborted by the deadline or by one of the callers. */
    signal,
    /** @throws BusyError `deadline`, `cancelled` once `signal` is aborted */
    throwIfEnded() {
      if (signal.aborted) throw isGlimpseError(signal.reason) ? signal.reason : cancelled()
    },
    /** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
    wait: (ms: number) =>
      new Promise<void>((resolve) => {
        if (signal.aborted) return resolve()
        const stop = () => {
          clearTimeout(pause)
          signal.removeEventListener('abort', stop)
          resolve()
        }
        const pause = setTimeout(stop, ms)
        signal.addEventListener('abort', stop)
      }),
    /** Removes the timer and the listeners. */
    end() {
      clearTimeout(timer)
      end()
    },
  }
}
