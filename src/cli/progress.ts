// Long work of a command -> its progress on standard error, and a signal that Ctrl-C aborts.

import { SingleBar } from 'cli-progress'
import { log } from '../observe/log.ts'
import { megabytes } from '../units.ts'

export interface Progress {
  doneBytes: number
  totalBytes: number
  /** More to show behind the bar. */
  note?: string
}

/**
 * Runs `work` and shows its progress: a bar on a terminal, otherwise one log line named `event` for each further tenth,
 * or nothing without `event`. SIGINT or SIGTERM aborts `signal`, so that `work` can clean up before it rejects.
 */
export async function withProgress<T>(
  event: string | undefined,
  work: (given: { signal: AbortSignal; onProgress: (progress: Progress) => void }) => Promise<T>,
): Promise<T> {
  const bar = new SingleBar({
    format: '{bar} {percentage}% | {value} of {total} | {rate}/s | {eta_formatted} left{note}',
    formatValue: (value, _, type) => (type === 'value' || type === 'total' ? megabytes(value) : `${value}`),
    stream: process.stderr,
    hideCursor: true,
    etaBuffer: 500,
  })
  let first: { atMs: number; doneBytes: number } | undefined
  let tenths = 0
  const onProgress = ({ doneBytes, totalBytes, note = '' }: Progress) => {
    if (!first) {
      first = { atMs: performance.now(), doneBytes }
      bar.start(totalBytes, doneBytes, { rate: megabytes(0), note })
    }
    const seconds = (performance.now() - first.atMs) / 1000
    const bytesPerSecond = seconds > 0 ? (doneBytes - first.doneBytes) / seconds : 0
    bar.update(doneBytes, { rate: megabytes(bytesPerSecond), note })
    const reached = Math.floor((10 * doneBytes) / totalBytes)
    if (event === undefined || process.stderr.isTTY || !(reached > tenths)) return
    tenths = reached
    const inMb = (bytes: number) => (bytes / 1e6).toFixed(1)
    log.info(event, { percent: 10 * tenths, of_mb: inMb(totalBytes), mb_per_s: inMb(bytesPerSecond) })
  }
  const stop = new AbortController()
  const interrupt = () => stop.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  try {
    return await work({ signal: stop.signal, onProgress })
  } finally {
    bar.stop()
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}
