// Questions and retractions of the chats -> messages in the queue, for processes that load no model.
//
// Only questions for the bot are sent. Their group is the channel, so a channel's questions stay in order.

import { setTimeout as sleepFor } from 'node:timers/promises'
import { openIntake } from '../chat/intake.ts'
import type { Preferences } from '../chat/preferences.ts'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import { keyedMutex } from '../concurrency.ts'
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
  keepMs,
  sleep = sleepFor,
}: {
  queue: Queue
  store: Store
  preferences: Preferences
  /** How long conversations are kept. */
  keepMs: number
  sleep?: (ms: number) => Promise<void>
}) {
  const key = (name: string) => `awaited/${sha256Hex(name)}`
  const isAnswerPending = async (name: string) => (await store.read(key(name))) !== undefined
  const kept = { store, keepMs, time: { now: Date.now, sleep } }
  const intake = openIntake({ kept, preferences, isAnswerPending, sleep })
  const mutex = keyedMutex()

  const pending = new Map<string, Promise<void>>()
  const track = (id: string, sending: Promise<void>) => {
    pending.set(id, sending)
    void sending.catch(() => {}).finally(() => pending.delete(id))
  }
  /** Its turn in its group is reserved at once. */
  const enqueue = (question: Question, delayMs: number): Promise<void> => {
    const admitted = intake.admit(question, delayMs)
    if (!admitted) return pending.get(question.id) ?? Promise.resolve()
    const groupId = `${question.platform}/${question.channel}`
    const send = async () => {
      const whole = await admitted.question
      if (!whole) return
      // Follow-ups in the thread are for the bot, even before its answer is posted.
      const marks = whole.conversations.map((name) => store.replace(key(name), new Uint8Array(), AWAITED_MS))
      await Promise.all(marks)
      await queue.send({ kind: 'question', question: whole }, { deduplicationId: whole.id, groupId })
    }
    // One that waits for a fuller delivery keeps the others of its thread, not those of its channel, from being sent.
    const keys = delayMs > 0 ? question.conversations : [groupId, ...question.conversations]
    const sending = mutex.run(keys, send).finally(admitted.release)
    track(question.id, sending)
    return sending
  }

  const sink: QuestionSink = {
    submit: (question, delayMs = 0) => enqueue(question, delayMs),
    // A group of its own: a retraction is delivered while the question's group is busy.
    async retract(id, filesLeft) {
      const groupId = `withdraw/${id}`
      const deduplicationId = filesLeft ? `${groupId}/${sha256Hex(filesLeft.join(' '))}` : groupId
      await queue.send(
        { kind: 'withdraw', id, filesLeft: filesLeft && [...filesLeft] },
        { deduplicationId, groupId },
      )
    },
  }
  /** Resolves when every submitted question is in the queue. */
  const drained = async () => void (await Promise.allSettled(pending.values()))
  return { ...sink, drained }
}
