// Questions and retractions of the chats -> messages in the queue, for processes that load no model.
//
// Only questions for the bot are sent. Their group is the conversation, so its questions stay in order, and one that fails
// delays no other conversation of the channel. While the store fails, every question is sent: the consumer decides.

import { setTimeout as sleepFor } from 'node:timers/promises'
import { openIntake } from '../chat/intake.ts'
import type { Preferences } from '../chat/preferences.ts'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import { keyedMutex } from '../concurrency.ts'
import { isGlimpseError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { reportAs } from '../observe/report.ts'
import type { Store } from '../store/store.ts'
import { withTimeout } from '../time.ts'
import type { Queue } from './queue.ts'

/** How long a thread counts as one with an answer to come. */
const AWAITED_MS = 15 * 60_000
/** The platforms wait 3 s for the acknowledgement. */
const STORE_MS = 1_500

const report = reportAs('not_noted')

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
  /** `otherwise` when the store fails or does not answer in time, which is reported. */
  const orWithoutStore = async <T>(work: Promise<T>, otherwise: T): Promise<T> => {
    const late = () =>
      new UpstreamError('state_failed', `GLIMPSE_STATE did not answer within ${STORE_MS} ms.`)
    return await withTimeout(work, STORE_MS, late).catch((error: unknown) => {
      if (!isGlimpseError(error) || error.kind !== 'upstream') throw error
      report(error)
      return otherwise
    })
  }
  const intake = openIntake({ kept, preferences, isAnswerPending, sleep, settle: orWithoutStore })
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
    const groupId = groupOf(question)
    const send = async () => {
      const whole = await admitted.question
      if (!whole) return
      // Follow-ups in the thread are for the bot, even before its answer is posted.
      const marks = whole.conversations.map((name) => store.replace(key(name), new Uint8Array(), AWAITED_MS))
      await orWithoutStore<unknown>(Promise.all(marks), undefined)
      await queue.send({ kind: 'question', question: whole }, { deduplicationId: whole.id, groupId })
    }
    // One that waits for a fuller delivery keeps the others of its conversation from being sent.
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

/**
 * The conversation that a question belongs to: the channel in direct messages; else the nearest of its conversations that is
 * not the message itself (the thread, the message replied to, on Discord the asker's last question); else the message.
 */
function groupOf({ id, platform, trigger, channel, conversations }: Question): string {
  if (trigger === 'direct') return `${platform}/${channel}`
  return conversations.find((name) => name !== id) ?? id
}
