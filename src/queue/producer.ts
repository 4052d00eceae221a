// What stands in for the desk where there is no model: questions that are ours go into the queue, in the order of their
// channel.

import type { Preferences } from '../chat/preferences.ts'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import { shouldAnswer } from '../chat/relevance.ts'
import { sha256Hex } from '../hash.ts'
import type { Store } from '../store/store.ts'
import { sleep as sleepFor } from '../time.ts'
import type { Queue } from './queue.ts'

export interface ProducerOptions {
  queue: Queue
  store: Store
  preferences: Preferences
  /** Another in tests. */
  sleep?: (ms: number) => Promise<void>
}

export interface QueueProducer extends QuestionSink {
  /** Resolves when all that was accepted is in the queue. */
  drained(): Promise<void>
}

/** A question that waits longer is of no use to anybody. */
const AWAITED_MS = 15 * 60_000

/**
 * Once `submit` resolves the question is in the queue. One with a delay waits here first, so that a fuller delivery of the
 * same message is sent before it and, under the same id, takes its place.
 */
export function queueProducer({
  queue,
  store,
  preferences,
  sleep = sleepFor,
}: ProducerOptions): QueueProducer {
  const key = (name: string) => `awaited/${sha256Hex(name)}`
  const isAnswerPending = async (name: string) => (await store.read(key(name))) !== undefined

  const pending = new Set<Promise<void>>()
  const enqueue = async (question: Question, delayMs: number): Promise<void> => {
    if (delayMs > 0) await sleep(delayMs)
    if (!(await shouldAnswer(question, { store, preferences, isAnswerPending }))) return
    // What follows in the thread is ours too, before the answer is there.
    const marks = question.conversations.map((name) => store.replace(key(name), new Uint8Array(), AWAITED_MS))
    await Promise.all(marks)
    const groupId = `${question.platform}/${question.channel}`
    await queue.send({ kind: 'question', question }, { deduplicationId: question.id, groupId })
  }

  return {
    async submit(question, delayMs = 0) {
      const passing = enqueue(question, delayMs).finally(() => pending.delete(passing))
      pending.add(passing)
      await passing
    },
    async drained() {
      await Promise.allSettled(pending)
    },
    // Not behind the question in its group: while that is thought about, its going is to be known already.
    async retract(id) {
      await queue.send(
        { kind: 'withdraw', id },
        { deduplicationId: `withdraw/${id}`, groupId: `withdraw/${id}` },
      )
    },
  }
}
