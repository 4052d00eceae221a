// Limits how often one person may ask, so that one person cannot take the whole model. Counted in each process.

import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'

export type RateLimiter = ReturnType<typeof createRateLimiter>

/** Fixed windows that begin with a person's first question. A question refused by one window does not count in the other. */
export function createRateLimiter(limits: { perMinute: number; perHour: number }) {
  const windows = [
    new RateLimiterMemory({ points: limits.perMinute, duration: 60 }),
    new RateLimiterMemory({ points: limits.perHour, duration: 3_600 }),
  ]
  return {
    /** Counts a question and returns undefined; over a limit, returns the milliseconds until the next is allowed. */
    async consume(person: string): Promise<number | undefined> {
      const states = await Promise.all(windows.map((window) => window.get(person)))
      const waits = states.map((state) => (state && state.remainingPoints <= 0 ? state.msBeforeNext : 0))
      if (Math.max(...waits) > 0) return Math.max(...waits)
      try {
        await Promise.all(windows.map((window) => window.consume(person)))
        return undefined
      } catch (refused) {
        // Several questions at once can pass the check above.
        return (refused as RateLimiterRes).msBeforeNext
      }
    },
  }
}
