// Reply -> one visible reply on the platform. Retries with backoff while the platform fails. Before each retry it looks
// for the reply that the failed attempt may have posted. A chat reply is posted whole, after its last token.

import { BusyError, UpstreamError } from '../errors.ts'
import type { ChatReply } from './compose.ts'
import type { Claim } from './jobs.ts'
import type { Platform, Posted } from './platform.ts'

export interface RetryContext {
  /** When to give up, by the clock `now`. */
  endsAt: number
  /** When this process ends by itself: it begins no attempt that could outlast it. */
  processEndsAt?: number
  now: () => number
  sleep: (ms: number) => Promise<void>
  report: (error: unknown) => void
}

/** Pauses of 0.5, 1, 2, ... 30, 30 s. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
/** The longest attempt: a call that the platform does not answer ends after 10 s. */
const ATTEMPT_MS = 12_000

/** What became of a reply. `lost`: another process has claimed the job. */
export type Delivery =
  | { kind: 'posted'; posted: readonly Posted[] }
  | { kind: 'refused' }
  | { kind: 'retracted' }
  | { kind: 'lost' }

/**
 * `refused`: the platform refused the reply, or no attempt succeeded until `endsAt`.
 * @throws BusyError `stopping` when the process ends before: another one goes on
 */
export async function deliver(
  claim: Claim,
  platform: Platform,
  reply: ChatReply,
  context: RetryContext & { isRetracted: () => Promise<boolean> },
): Promise<Delivery> {
  const { question } = claim
  let { mayBePosted } = claim
  const result = await retryUntilDeadline(context, async (): Promise<Delivery> => {
    const found = mayBePosted ? await platform.findPosted(question) : undefined
    if (found) return { kind: 'posted', posted: found }
    if (!(await claim.markPosting())) return { kind: 'lost' }
    if (await context.isRetracted()) return { kind: 'retracted' }
    mayBePosted = true
    return { kind: 'posted', posted: await platform.post(question, reply) }
  })
  return result ?? { kind: 'refused' }
}

/** The reply that an earlier holder of the claim posted, if it did and the platform shows it. */
export async function findEarlier(
  { mayBePosted, posted, question }: Claim,
  platform: Platform,
  context: RetryContext,
): Promise<readonly Posted[] | undefined> {
  if (posted || !mayBePosted) return posted
  return await retryUntilDeadline(context, () => platform.findPosted(question))
}

/** Deletes each message, unless the platform refuses. */
export async function deletePosted(
  posted: readonly Posted[],
  platform: Platform,
  context: RetryContext,
): Promise<void> {
  for (const each of posted) await retryUntilDeadline(context, () => platform.deleteReply(each))
}

/**
 * Retries after UpstreamError. Returns undefined at `endsAt` or after any other error. Reports every error.
 * @throws BusyError `stopping` when the process ends before `endsAt`
 */
async function retryUntilDeadline<T>(
  { endsAt, processEndsAt = Number.POSITIVE_INFINITY, now, sleep, report }: RetryContext,
  work: () => Promise<T>,
): Promise<T | undefined> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await work()
    } catch (error) {
      report(error)
      const waitMs = error instanceof UpstreamError ? (error.retryAfterMs ?? pauseMs) : Infinity
      if (now() + waitMs > endsAt) return undefined
      if (now() + waitMs > processEndsAt - ATTEMPT_MS)
        throw new BusyError(
          'stopping',
          'This process ends before a retry would. Another one posts the reply.',
        )
      await sleep(waitMs)
    }
  }
}
