// A request of a long job -> its answer, also when the engine has to start again or is out of memory for a moment.

import { isGlimpseError } from '../errors.ts'

const TRIES = 3

/** Whether the same request may be answered the next time. */
export function isPassing(error: unknown): boolean {
  return isGlimpseError(error) && ['restarting', 'out_of_memory'].includes(error.code)
}

/** Calls `ask` up to TRIES times while it fails with an error that passes. @throws what `ask` throws */
export async function askAgain<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask()
    } catch (error) {
      if (!isPassing(error) || tries === TRIES) throw error
    }
  }
}
