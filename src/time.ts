// Durations and timers.

export const HOUR_MS = 3_600_000

/** The limit of setTimeout, which fires at once for a longer time. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function startTimer(ms: number | undefined, then: () => void): NodeJS.Timeout | undefined {
  if (ms === undefined || ms === Number.POSITIVE_INFINITY) return undefined
  return setTimeout(then, Math.min(ms, MAX_TIMER_MS))
}

/** Settles as `work` does, or rejects with `late()` after `ms`. */
export async function withTimeout<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  return await Promise.race([work, timeout]).finally(() => clearTimeout(timer))
}
