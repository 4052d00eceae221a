// Circuit breaker for restarts of the model process. It opens for `pauseMs` after `restarts` restarts within `withinMs`,
// and then allows a single restart. If that process also ends within `withinMs` without an answer, it opens again.
// Without it, a model that crashes at once would load in an endless loop. Times are milliseconds of the caller's clock.

export interface BreakerLimits {
  restarts: number
  withinMs: number
  pauseMs: number
}

export function createBreaker({ restarts, withinMs, pauseMs }: BreakerLimits) {
  /** Times of the restarts since the last pause. */
  let made: number[] = []
  /** End of the last pause; -Infinity when there was none, or when the model has answered since. */
  let openUntil = -Infinity
  return {
    /** Counts a restart and returns true, or returns false: the breaker is open. */
    tryAcquire(now: number): boolean {
      if (now < openUntil) return false
      made = made.filter((at) => now - at < withinMs)
      const isHalfOpen = now - openUntil < withinMs
      if (made.length < (isHalfOpen ? 1 : restarts)) return made.push(now) > 0
      openUntil = now + pauseMs
      made = []
      return false
    },
    /** The model has answered a request: all `restarts` are available again after a pause. */
    recordSuccess(): void {
      openUntil = -Infinity
    },
    /** Milliseconds until the next restart is allowed; 0 when it is allowed now. */
    waitMs: (now: number) => Math.max(0, openUntil - now),
  }
}
