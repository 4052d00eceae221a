// Work on a network that may fail: what can pass is tried again, a few times and not all at once.
//
// Goes in: something to do, and whom it is asked of. Comes out: its result, or an error that says what to do.

import { setTimeout as sleep } from 'node:timers/promises'
import { type BusyError, type CodeOf, cancelled, isGlimpseError, UpstreamError } from './errors.ts'
import { withTimeout } from './time.ts'

export interface RetryOptions {
  /** Whom it is asked of, for messages: `https://huggingface.co`, `s3://bucket/prefix`. */
  endpoint: string
  /** Code of the error when it stays so. Default: `hub_unreachable`. */
  code?: CodeOf<'upstream'>
  /** What to do then. Default: run the same command again. */
  todo?: string
  /** Ends whatever is under way. */
  signal?: AbortSignal
  /** Milliseconds: without a byte for so long a connection is given up; the first wait before another try. */
  stallMs?: number
  retryMs?: number
  /** Told of each failure after which it is tried again. */
  onRetry?: (why: TransientError) => void
}

/** Tries in a row that brought nothing new: the first, and five more. */
const MAX_ATTEMPTS = 6
const MAX_WAIT_MS = 30_000
const MAX_RETRY_AFTER_MS = 300_000
const STALL_MS = 30_000
const RETRY_MS = 500
const RUN_AGAIN = 'Check the connection and run the same command again to resume.'

/** A failure that another try may mend. */
export class TransientError extends Error {
  readonly waitMs: number | undefined
  /** One word for the metrics: `stall`, `reset`, `slow_down`. */
  readonly reason: string

  constructor(message: string, options: { waitMs?: number; cause?: unknown; reason?: string } = {}) {
    super(message, { cause: options.cause })
    this.waitMs = options.waitMs
    this.reason = options.reason ?? 'other'
  }
}

/**
 * Does `work` until it succeeds, or fails in a way that trying again does not mend, or brings nothing new too often.
 * `work` calls `progressed` whenever it did get somewhere. Throws BusyError `cancelled`, UpstreamError `options.code`.
 */
export async function retry<T>(
  options: RetryOptions,
  what: string,
  work: (progressed: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0
  while (true) {
    try {
      return await work(() => {
        failures = 0
      })
    } catch (error) {
      if (options.signal?.aborted) throw interrupted()
      if (!(error instanceof TransientError)) throw error
      failures++
      if (failures >= MAX_ATTEMPTS) {
        throw new UpstreamError(
          options.code ?? 'hub_unreachable',
          `Expected ${what} from ${options.endpoint} but after ${failures} tries: ${error.message}. ${options.todo ?? RUN_AGAIN}`,
          { cause: error.cause },
        )
      }
      options.onRetry?.(error)
      const backoff = Math.min(MAX_WAIT_MS, (options.retryMs ?? RETRY_MS) * 2 ** (failures - 1))
      // Some chance, so that many who lost the same server do not all come back at once.
      await sleep(error.waitMs ?? backoff * (0.5 + Math.random() / 2), undefined, {
        signal: options.signal,
      }).catch(() => {
        throw interrupted()
      })
    }
  }
}

/** The next thing of a connection: one that stands still, or breaks, is TransientError. */
export async function withStallTimeout<T>(options: RetryOptions, work: Promise<T>): Promise<T> {
  const stallMs = options.stallMs ?? STALL_MS
  const stalled = () => new TransientError(`no data for ${stallMs / 1000} s`, { reason: 'stall' })
  try {
    return await withTimeout(work, stallMs, stalled)
  } catch (error) {
    if (error instanceof TransientError || isGlimpseError(error) || options.signal?.aborted) throw error
    const why = reasonOf(error)
    throw new TransientError(why, { cause: error, reason: /checksum/i.test(why) ? 'checksum' : 'reset' })
  } finally {
    work.catch(() => {})
  }
}

/** Lets go of a body that is not read. One that broke off meanwhile is let go of as well. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {})
}

/** The header's wait: seconds, or a date. */
export function retryAfterMs(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined) return undefined
  const ms = /^\d+$/.test(text.trim()) ? 1000 * Number(text) : Date.parse(text) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms))
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? error.cause.message : ''
  return cause === '' ? error.message : cause
}

/** For command-line work that a second run resumes. */
export function interrupted(): BusyError {
  return cancelled('Interrupted. Run the same command again to resume.')
}
