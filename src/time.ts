// Timers. Input: milliseconds and what happens then.

/** setTimeout takes no more, and fires at once when given more. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function startTimer(ms: number | undefined, then: () => void): NodeJS.Timeout | undefined {
  if (ms === undefined || ms === Number.POSITIVE_INFINITY) return undefined
  return setTimeout(then, Math.min(ms, MAX_TIMER_MS))
}
