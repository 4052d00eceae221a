// The progress sign of a question (a typing indicator, a reaction) -> removed, also where the first try fails: some seconds
// later in this process, and then whenever open jobs are looked at, by any process. The job remembers it (jobs.ts).

import { UpstreamError } from '../errors.ts'
import type { Time } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'
import type { openJobs } from './jobs.ts'
import type { Platform } from './platform.ts'
import type { Question } from './question.ts'

type Report = (error: unknown) => void

/** Pauses before further tries of the process that answered. */
const PAUSES_MS = [1_000, 3_000, 10_000]
/** After this time since its question a sign is given up. */
const GIVE_UP_MS = HOUR_MS

/** Returns false when the sign may still be visible. What the platform refuses for good counts as gone. */
export async function removeSign(question: Question, platform: Platform, report: Report): Promise<boolean> {
  try {
    await platform.stopTyping(question)
    return true
  } catch (error) {
    report(error)
    return !(error instanceof UpstreamError)
  }
}

export function openSigns({
  jobs,
  platformOf,
  time: { now, sleep },
  report,
}: {
  jobs: Pick<ReturnType<typeof openJobs>, 'forgetSign'>
  platformOf: (name: string) => Platform
  time: Time
  report: Report
}) {
  const remove = async (question: Question): Promise<boolean> => {
    const isGone = await removeSign(question, platformOf(question.platform), report)
    if (isGone) await jobs.forgetSign(question.id)
    return isGone
  }
  return {
    /** For a question whose job has just been done with the sign left. */
    async retry(question: Question): Promise<void> {
      for (const pauseMs of PAUSES_MS) {
        await sleep(pauseMs)
        if (await remove(question)) return
      }
    },
    /** For questions whose jobs say so. */
    async removeLeft(questions: readonly Question[]): Promise<void> {
      for (const question of questions) {
        const isLate = now() > question.askedAt + GIVE_UP_MS
        await (isLate ? jobs.forgetSign(question.id) : remove(question))
      }
    },
  }
}
