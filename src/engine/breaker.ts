// How often the model may be started again. One that keeps ending would otherwise load without end: after so many
// restarts within a while there is a pause, then a single try. Time goes in as an argument.

export interface BreakerLimits {
  /** Restarts allowed ... */
  restarts: number
  /** ... within so many milliseconds. */
  withinMs: number
  /** How long nothing is tried after that. */
  pauseMs: number
}

export interface Breaker {
  /** Whether a restart may be made now; if so it counts. */
  tryAcquire(now: number): boolean
  /** The model has answered: the next end is not that of a single try any more. */
  recordSuccess(): void
  /** Until the next try; 0 if one may be made now. */
  waitMs(now: number): number
}

export function createBreaker({ restarts, withinMs, pauseMs }: BreakerLimits): Breaker {
  let made: number[] = []
  let openUntil = -Infinity
  /** When the single try after a pause was made, as long as it has not proved good. */
  let halfOpenSince: number | undefined

  const openAt = (now: number) => {
    openUntil = now + pauseMs
    made = []
    halfOpenSince = undefined
  }

  return {
    tryAcquire(now) {
      if (now < openUntil) return false
      const isAfterPause = openUntil > -Infinity
      openUntil = -Infinity
      made = made.filter((at) => now - at < withinMs)
      const hasFailedAgain = halfOpenSince !== undefined && now - halfOpenSince < withinMs
      if (hasFailedAgain || made.length >= restarts) {
        openAt(now)
        return false
      }
      halfOpenSince = isAfterPause ? now : undefined
      made.push(now)
      return true
    },
    recordSuccess() {
      halfOpenSince = undefined
    },
    waitMs: (now) => Math.max(0, openUntil - now),
  }
}
