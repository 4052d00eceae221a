// Questions and retractions of the chats -> messages in the queue, for processes that load no model.
//
// Only questions for the bot are sent. Their group is the channel, so a channel's questions stay in order.

import { setTimeout as sleepFor } from 'node:timers/promises'
import type { Preferences } from '../chat/preferences.ts'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import { shouldAnswer } from '../chat/relevance.ts'
import { sha256Hex } from '../hash.ts'
import type { Store } from '../store/store.ts'
import type { Queue } from './queue.ts'

/** How long a thread counts as one with an answer to come. */
const AWAITED_MS = 15 * 60_000

/**
 * `submit` resolves when the question is in the queue. A question with a delay waits in this process first: a more complete
 * delivery of the same chat message is then sent before it, and the queue drops the later one by its id.
 */
export function queueProducer({
  queue,
  store,
  preferences,
  sleep = sleepFor,
}: {
  queue: Queue
  store: Store
  preferences: Preferences
  sleep?: (ms: number) => Promise<void>
}) {
  const key = (name: string) => `awaited/${sha256Hex(name)}`
  const isAnswerPending = async (name: string) => (await store.read(key(name))) !== undefined

  const pending = new Set<Promise<void>>()
  const enqueue = async (question: Question, delayMs: number): Promise<void> => {
    if (delayMs > 0) await sleep(delayMs)
    if (!(await shouldAnswer(question, store, preferences, isAnswerPending))) return
    // Follow-ups in the thread are for the bot, even before its answer is posted.
    const marks = question.conversations.map((name) => store.replace(key(name), new Uint8Array(), AWAITED_MS))
    await Promise.all(marks)
    const groupId = `${question.platform}/${question.channel}`
    await queue.send({ kind: 'question', question }, { deduplicationId: question.id, groupId })
  }

  const sink: QuestionSink = {
    async submit(question, delayMs = 0) {
      const passing = enqueue(question, delayMs).finally(() => pending.delete(passing))
      pending.add(passing)
      await passing
    },
    // A group of its own: a retraction is delivered while the question's group is busy.
    async retract(id, file) {
      const name = `withdraw/${file === undefined ? id : `${id}/${file}`}`
      await queue.send({ kind: 'withdraw', id, file }, { deduplicationId: name, groupId: name })
    },
  }
  /** Resolves when every submitted question is in the queue. */
  const drained = async () => void (await Promise.allSettled(pending))
  return { ...sink, drained }
}
