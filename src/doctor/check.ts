// One thing that is looked at, and what was found: checks run beside each other, each with a bound, and none can stop
// the others.

import { isGlimpseError } from '../errors.ts'
import { type Finding, fail } from '../finding.ts'
import { scrub } from '../observe/log.ts'

export interface Check {
  name: string
  look: () => Promise<Finding>
}

export interface Result extends Finding {
  name: string
  ms: number
}

/** All at once, told in the order given. A check that throws or takes longer than `timeoutMs` failed. */
export async function runChecks(checks: readonly Check[], timeoutMs: number): Promise<Result[]> {
  return await Promise.all(
    checks.map(async ({ name, look }) => {
      const begun = performance.now()
      const { status, found, todo } = await withTimeout(look, timeoutMs).catch(unexpected)
      const ms = Math.round(performance.now() - begun)
      return { name, status, found: scrub(found), ...(todo === undefined ? {} : { todo: scrub(todo) }), ms }
    }),
  )
}

async function withTimeout(look: () => Promise<Finding>, timeoutMs: number): Promise<Finding> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Finding>((resolve) => {
    timer = setTimeout(
      () =>
        resolve(
          fail(
            `no answer within ${timeoutMs / 1000} s`,
            'See whether the way there is open: proxy, firewall, DNS.',
          ),
        ),
      timeoutMs,
    )
  })
  return await Promise.race([look(), late]).finally(() => clearTimeout(timer))
}

/** Our own errors say what to do already. */
export function unexpected(error: unknown): Finding {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error && !message.includes(cause.message) ? ` (${cause.message})` : ''
  const todo = isGlimpseError(error) ? undefined : 'Run it again; if it stays so it is worth a report.'
  return fail(`${message}${why}`.replace(/\s+/g, ' '), todo)
}
