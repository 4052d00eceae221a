// Checks -> their findings. They run in parallel, each with a timeout; a check that throws or hangs fails alone.

import { isGlimpseError } from '../errors.ts'
import { type Finding, fail } from '../finding.ts'
import { scrub } from '../observe/log.ts'
import { withTimeout } from '../time.ts'

export interface Result extends Finding {
  name: string
  ms: number
}

/** Checks by name. */
export type Checks = Readonly<Record<string, () => Promise<Finding>>>

/** Findings in the order of `checks`, without secrets. A check that throws or takes longer than `timeoutMs` fails. */
export async function runChecks(checks: Checks, timeoutMs: number): Promise<Result[]> {
  const late = () => new TimeoutError(`no answer within ${timeoutMs / 1000} s`)
  return await Promise.all(
    Object.entries(checks).map(async ([name, run]) => {
      const startMs = performance.now()
      const work = Promise.resolve().then(run)
      const { status, found, todo } = await withTimeout(work, timeoutMs, late).catch(unexpected)
      const ms = Math.round(performance.now() - startMs)
      return { name, status, found: scrub(found), todo: todo && scrub(todo), ms }
    }),
  )
}

class TimeoutError extends Error {}

/** The failed finding for an error that a check threw: its message and cause, in one line. */
export function unexpected(error: unknown): Finding {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error && !message.includes(cause.message) ? ` (${cause.message})` : ''
  const found = `${message}${why}`.replace(/\s+/g, ' ')
  if (isGlimpseError(error)) return fail(found)
  if (error instanceof TimeoutError) return fail(found, 'Check the connection: proxy, firewall and DNS.')
  return fail(found, 'Run it again. If it fails again, report it as a bug.')
}
