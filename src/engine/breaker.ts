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
  take(now: number): boolean
  /** The model has answered: the next end is not that of a single try any more. */
  proved(): void
  /** Until the next try; 0 if one may be made now. */
  waitMs(now: number): number
}

export function breaker({ restarts, withinMs, pauseMs }: BreakerLimits): Breaker {
  let made: number[] = []
  let openUntil = -Infinity
  /** When the single try after a pause was made, as long as it has not proved good. */
  let tried: number | undefined

  const openAt = (now: number) => {
    openUntil = now + pauseMs
    made = []
    tried = undefined
  }

  return {
    take(now) {
      if (now < openUntil) return false
      const isAfterPause = openUntil > -Infinity
      openUntil = -Infinity
      made = made.filter((at) => now - at < withinMs)
      const triedInVain = tried !== undefined && now - tried < withinMs
      if (triedInVain || made.length >= restarts) {
        openAt(now)
        return false
      }
      tried = isAfterPause ? now : undefined
      made.push(now)
      return true
    },
    proved() {
      tried = undefined
    },
    waitMs: (now) => Math.max(0, openUntil - now),
  }
}
