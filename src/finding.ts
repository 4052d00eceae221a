// What one check of `glimpse doctor` found, and what to do about it.

/** `skipped`: nothing is configured that could be checked; `found` says why. */
export type Status = 'ok' | 'warn' | 'fail' | 'skipped'

export interface Finding {
  status: Status
  /** What was found, in one line. */
  found: string
  /** What to do about it, unless `found` says so. */
  todo?: string
}

export const ok = (found: string): Finding => ({ status: 'ok', found })
/** Without `todo` where `found` says it already, as the messages of GlimpseErrors do. */
export const warn = (found: string, todo?: string): Finding => ({ status: 'warn', found, todo })
export const fail = (found: string, todo?: string): Finding => ({ status: 'fail', found, todo })
export const skipped = (found: string): Finding => ({ status: 'skipped', found })

/** A service that gave no answer, for whatever reason. */
export function unreachable(service: string, address: string, error: unknown): Finding {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? cause.message : message
  return fail(
    `${service} did not answer at ${new URL(address).host}: ${why}`,
    'Allow connections from this machine to it (port 443), and check that the service is up.',
  )
}
