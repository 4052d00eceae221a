// Retries of work on a network: a function that may fail -> its result, or an error that says what to do. Only
// TransientError is retried, with exponential backoff and jitter.

import { setTimeout as sleep } from 'node:timers/promises'
import { type BusyError, type CodeOf, cancelled, isGlimpseError, UpstreamError } from './errors.ts'
import { withTimeout } from './time.ts'

export interface RetryOptions {
  /** For messages: `https://huggingface.co`, `s3://bucket/prefix`. */
  endpoint: string
  /** Code of the error after the last attempt. Default: `hub_unreachable`. */
  code?: CodeOf<'upstream'>
  /** What that error tells the user to do. Default: run the same command again. */
  todo?: string
  signal?: AbortSignal
  /** A connection is closed after this time without a byte. Default: 30 s. */
  stallMs?: number
  /** Wait before the second attempt. Default: 500 ms. */
  retryMs?: number
  /** Called before each retry. */
  onRetry?: (why: TransientError) => void
}

/** Attempts in a row without progress. */
const MAX_ATTEMPTS = 6
const MAX_WAIT_MS = 30_000
const MAX_RETRY_AFTER_MS = 300_000
const STALL_MS = 30_000
const RETRY_MS = 500
const RUN_AGAIN = 'Check the connection and run the same command again to resume.'

/** A failure that may not happen again. */
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
 * Calls `work` again as long as it throws TransientError, up to MAX_ATTEMPTS times in a row without progress. `work` calls
 * `progressed` to restart that count.
 * @throws BusyError `cancelled`, UpstreamError `options.code`, and other errors of `work`
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
          `${what} at ${options.endpoint} failed ${failures} times: ${error.message}. ${options.todo ?? RUN_AGAIN}`,
          { cause: error.cause },
        )
      }
      options.onRetry?.(error)
      const backoff = Math.min(MAX_WAIT_MS, (options.retryMs ?? RETRY_MS) * 2 ** (failures - 1))
      // Jitter, so that clients that lost the same server do not retry at the same time.
      await sleep(error.waitMs ?? backoff * (0.5 + Math.random() / 2), undefined, {
        signal: options.signal,
      }).catch(() => {
        throw interrupted()
      })
    }
  }
}

/** Awaits one step of a connection. Throws TransientError if it stalls for `stallMs` or the connection breaks. */
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

/** Cancels the body of a response that is not read. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {})
}

/** Milliseconds to wait by a Retry-After header, which has seconds or a date. */
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

/** For a command that a second run resumes. */
export function interrupted(): BusyError {
  return cancelled('Interrupted. Run the same command again to resume.')
}
