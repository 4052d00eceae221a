// Long work of a command -> its progress on standard error, and a signal that Ctrl-C aborts.

import { setMaxListeners } from 'node:events'
import { SingleBar } from 'cli-progress'
import { log } from '../observe/log.ts'
import { megabytes } from '../units.ts'

export interface Progress {
  doneBytes: number
  totalBytes: number
  /** More to show behind the bar. */
  note?: string
}

/** What is counted: as text on the bar, and as fields of a log line. */
interface Unit {
  text(amount: number): string
  fields(total: number, perSecond: number): Record<string, string>
}

interface Given<P extends unknown[]> {
  signal: AbortSignal
  onProgress: (...progress: P) => void
}

const inMb = (bytes: number) => (bytes / 1e6).toFixed(1)
const BYTES: Unit = {
  text: megabytes,
  fields: (total, perSecond) => ({ of_mb: inMb(total), mb_per_s: inMb(perSecond) }),
}
const PIECES: Unit = {
  text: (count) => (Number.isInteger(count) ? `${count}` : count.toFixed(1)),
  fields: (total, perSecond) => ({ of: `${total}`, per_s: perSecond.toFixed(1) }),
}

/**
 * Runs `work` and shows its progress: a bar on a terminal, otherwise one log line named `event` for each further tenth,
 * or nothing without `event`. SIGINT or SIGTERM aborts `signal`, so that `work` can clean up before it rejects.
 */
export async function withProgress<T>(
  event: string | undefined,
  work: (given: Given<[progress: Progress]>) => Promise<T>,
): Promise<T> {
  return await shown(event, BYTES, ({ signal, onProgress }) =>
    work({
      signal,
      onProgress: ({ doneBytes, totalBytes, note }) => onProgress(doneBytes, totalBytes, note),
    }),
  )
}

/** As withProgress, for work that is counted in pieces. */
export async function withCount<T>(
  event: string | undefined,
  work: (given: Given<[done: number, total: number, note?: string]>) => Promise<T>,
): Promise<T> {
  return await shown(event, PIECES, work)
}

async function shown<T>(
  event: string | undefined,
  unit: Unit,
  work: (given: Given<[done: number, total: number, note?: string]>) => Promise<T>,
): Promise<T> {
  const bar = new SingleBar({
    format: '{bar} {percentage}% | {value} of {total} | {rate}/s | {eta_formatted} left{note}',
    formatValue: (value, _, type) => (type === 'value' || type === 'total' ? unit.text(value) : `${value}`),
    stream: process.stderr,
    hideCursor: true,
    etaBuffer: 500,
  })
  let first: { atMs: number; done: number } | undefined
  let tenths = 0
  const onProgress = (done: number, total: number, note = '') => {
    if (!first) {
      first = { atMs: performance.now(), done }
      bar.start(total, done, { rate: unit.text(0), note })
    }
    const seconds = (performance.now() - first.atMs) / 1000
    const perSecond = seconds > 0 ? (done - first.done) / seconds : 0
    bar.update(done, { rate: unit.text(perSecond), note })
    const reached = Math.floor((10 * done) / total)
    if (event === undefined || process.stderr.isTTY || !(reached > tenths)) return
    tenths = reached
    log.info(event, { percent: 10 * tenths, ...unit.fields(total, perSecond) })
  }
  const stop = new AbortController()
  // Each request that runs listens.
  setMaxListeners(0, stop.signal)
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
