// How long each stage of an answer took.

import type { TimingsMs } from './request.ts'

export interface Stopwatch {
  /** The time a stage took, whoever else it was done for as well. */
  record(stage: keyof TimingsMs, ms: number): void
  read(): TimingsMs
}

export function stopwatch(): Stopwatch {
  const start = performance.now()
  const spent: TimingsMs = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
  return {
    record(stage, ms) {
      spent[stage] = rounded(ms)
    },
    read: () => ({ ...spent, total: rounded(performance.now() - start) }),
  }
}

/** Does the work and notes its time for each of those it is done for. */
export async function timed<T>(
  stopwatches: readonly Stopwatch[],
  stage: keyof TimingsMs,
  work: () => T | Promise<T>,
): Promise<T> {
  const begin = performance.now()
  const result = await work()
  const ms = performance.now() - begin
  for (const each of stopwatches) each.record(stage, ms)
  return result
}

/** The same, with the time it waited in a queue before. */
export function withQueueTime(timings: TimingsMs, waitedMs: number): TimingsMs {
  return { ...timings, queue: rounded(timings.queue + waitedMs), total: rounded(timings.total + waitedMs) }
}

/** Hundredths of a millisecond: finer would be noise. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100
}
