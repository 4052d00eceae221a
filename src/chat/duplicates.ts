// What comes more than once, and not by the id of its question -> answered once: a message that several installations of
// Glimpse get (Slack Connect, two bots in a channel), and an edit of which it is not known what it changed.
//
// Installations that share a store agree in it: the first that claims a message answers it. Others see each other's replies:
// one that answers without being asked looks for a reply before it posts and after, and then removes its own if that is the
// later one. Where each has posted, one has posted first.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { jsonBytes, readJsonOf, type Store } from '../store/store.ts'
import type { openJobs } from './jobs.ts'
import type { Platform, Posted } from './platform.ts'
import type { Question } from './question.ts'

const claimSchema = z.object({ question: z.string(), isNamed: z.boolean() })

/**
 * Whether this installation is to answer. One that the message names answers also where another has given an automatic
 * caption. `keepMs`: for how long a message may be delivered.
 */
export async function isOurs(
  question: Question,
  platform: Platform,
  { store, keepMs }: { store: Store; keepMs: number },
): Promise<boolean> {
  if (isUnasked(question) && (await platform.isTaken?.(question))) return false
  const { message, id } = question
  if (message === undefined) return true
  const key = `messages/${sha256Hex(message)}`
  const own = { question: id, isNamed: !isUnasked(question) }
  if ((await store.create(key, jsonBytes(own), keepMs)) !== undefined) return true
  const claim = (await readJsonOf(store, key, claimSchema.parse))?.value
  return claim === undefined || claim.question === id || (own.isNamed && !claim.isNamed)
}

/** Whether another installation has replied before this one did. */
export async function isSecond(
  question: Question,
  platform: Platform,
  posted: readonly Posted[],
): Promise<boolean> {
  return posted.length > 0 && isUnasked(question) && (await platform.isTaken?.(question, posted)) === true
}

/** Whether an edit is no new question: its message asked already, and had one of its pictures. */
export async function isKnownEdit(
  { editOf, pictures }: Question,
  jobs: Pick<ReturnType<typeof openJobs>, 'wasAsked'>,
): Promise<boolean> {
  return editOf !== undefined && (await jobs.wasAsked(editOf, pictures))
}

/** Whether the message does not say whom it is for. */
function isUnasked({ trigger, isToUs }: Question): boolean {
  return trigger === 'automatic' || (trigger === 'follow_up' && !isToUs)
}
