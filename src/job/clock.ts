// How long each stage of an answer took.

import type { TimingsMs } from './ask.ts'

export interface Stopwatch {
  /** Does the work and notes its time under the stage's name. */
  time<T>(stage: keyof TimingsMs, work: () => T | Promise<T>): Promise<T>
  read(): TimingsMs
}

export function stopwatch(): Stopwatch {
  const start = performance.now()
  const spent: TimingsMs = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
  return {
    async time(stage, work) {
      const begin = performance.now()
      const result = await work()
      spent[stage] = rounded(performance.now() - begin)
      return result
    },
    read: () => ({ ...spent, total: rounded(performance.now() - start) }),
  }
}

/** The same, with the time an ask waited before it was taken up. */
export function afterWaiting(timings: TimingsMs, waitedMs: number): TimingsMs {
  return { ...timings, queue: rounded(waitedMs), total: rounded(timings.total + waitedMs) }
}

/** Hundredths of a millisecond: finer would be noise. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100
}
