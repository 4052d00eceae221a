// A reply -> visible in the thread, once: tries again when the platform fails, and looks first whether a try that failed
// did its work all the same.

import { UpstreamError } from '../errors.ts'
import type { ChatReply } from './compose.ts'
import type { Claim } from './jobs.ts'
import type { Platform, Posted } from './platform.ts'

interface RetryContext {
  /** When to give up, by `now`: a platform that is down for some minutes still gets the reply. */
  endsAt: number
  now: () => number
  sleep: (ms: number) => Promise<void>
  report: (error: unknown) => void
}

/** 0.5, 1, 2, ... 30, 30 s. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000

/** What was posted; nothing when the platform refuses. Undefined when the question is somebody else's by now. */
export async function deliver(
  claim: Claim,
  platform: Platform,
  reply: ChatReply,
  context: RetryContext & { isRetracted: () => Promise<boolean> },
): Promise<readonly Posted[] | undefined> {
  const { question } = claim
  let { mayBePosted } = claim
  const posted = await retryUntilDeadline(context, async () => {
    const before = mayBePosted ? await platform.findPosted(question) : undefined
    if (before) return { posted: before }
    if (!(await claim.markPosting())) return { posted: undefined }
    if (await context.isRetracted()) return { posted: [] }
    mayBePosted = true
    return { posted: await platform.post(question, reply) }
  })
  return posted ? posted.posted : []
}

/** Deletes what was posted, as far as the platform lets us. */
export async function deletePosted(
  posted: readonly Posted[],
  platform: Platform,
  context: RetryContext,
): Promise<void> {
  for (const each of posted) await retryUntilDeadline(context, () => platform.deleteReply(each))
}

/** Undefined when it could not be done: what broke on the way is tried again, what is refused for good is not. */
async function retryUntilDeadline<T>(
  { endsAt, now, sleep, report }: RetryContext,
  work: () => Promise<T>,
): Promise<T | undefined> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await work()
    } catch (error) {
      report(error)
      const waitMs = error instanceof UpstreamError ? (error.retryAfterMs ?? pauseMs) : Infinity
      if (now() + waitMs > endsAt) return undefined
      await sleep(waitMs)
    }
  }
}
