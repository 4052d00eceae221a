// Measures how long each stage of a request took, in milliseconds rounded to hundredths.

import type { TimingsMs } from './request.ts'

export type Stopwatch = ReturnType<typeof stopwatch>

/** Starts to measure `total`. */
export function stopwatch() {
  const start = performance.now()
  const spent: TimingsMs = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
  return {
    record(stage: keyof TimingsMs, ms: number): void {
      spent[stage] = rounded(ms)
    },
    read: (): TimingsMs => ({ ...spent, total: rounded(performance.now() - start) }),
  }
}

/** Runs `work` and records its whole duration for each request that shares it. */
export async function timed<T>(
  requests: readonly { clock: Stopwatch }[],
  stage: keyof TimingsMs,
  work: () => T | Promise<T>,
): Promise<T> {
  const begin = performance.now()
  const result = await work()
  const ms = performance.now() - begin
  for (const { clock } of requests) clock.record(stage, ms)
  return result
}

/** Returns the timings with `waitedMs` added to `queue` and to `total`. */
export function withQueueTime(timings: TimingsMs, waitedMs: number): TimingsMs {
  return { ...timings, queue: rounded(timings.queue + waitedMs), total: rounded(timings.total + waitedMs) }
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100
}
