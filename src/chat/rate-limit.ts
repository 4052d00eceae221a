// How often one person may ask, so that nobody takes the model for themselves.

import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'

export interface RateLimiter {
  /** Undefined when the person may ask, which then counts; else the milliseconds until they may again. */
  consume(person: string): Promise<number | undefined>
}

/** Windows begin with a person's first ask. */
export function createRateLimiter({
  perMinute,
  perHour,
}: {
  perMinute: number
  perHour: number
}): RateLimiter {
  const windows = [
    new RateLimiterMemory({ points: perMinute, duration: 60 }),
    new RateLimiterMemory({ points: perHour, duration: 3_600 }),
  ]
  return {
    async consume(person) {
      // Looked at first, so that an ask which is refused counts in neither window.
      const states = await Promise.all(windows.map((window) => window.get(person)))
      const waits = states.map((state) => (state && state.remainingPoints <= 0 ? state.msBeforeNext : 0))
      if (Math.max(...waits) > 0) return Math.max(...waits)
      try {
        await Promise.all(windows.map((window) => window.consume(person)))
        return undefined
      } catch (refused) {
        return (refused as RateLimiterRes).msBeforeNext
      }
    },
  }
}
