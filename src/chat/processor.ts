// Question -> job -> reply, for every platform. A mention becomes a Question in slack/message.ts or discord/message.ts and
// comes here, directly or through a queue. It is claimed (jobs.ts), answered (answer-question.ts) and posted (deliver.ts).
//
// Each question gets one visible reply, whatever crashes: a process answers only while it holds the job's lease, which a
// heartbeat renews. When the process dies the lease expires, and another process claims the job (`recoverAbandoned`).

import { setTimeout as sleepFor } from 'node:timers/promises'
import { keyedMutex, withResolvers } from '../concurrency.ts'
import { BusyError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { count } from '../observe/metrics.ts'
import { jsonBytes } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'
import { type AnswerDeps, answerQuestion } from './answer-question.ts'
import type { ChatReply } from './compose.ts'
import {
  deleteConversations,
  deleteTurn,
  loadConversation,
  recordExchange,
  sharesPicture,
} from './conversation.ts'
import { deletePosted, deliver } from './deliver.ts'
import { type Claim, openJobs } from './jobs.ts'
import type { Platform, Posted } from './platform.ts'
import type { Question } from './question.ts'
import { shouldAnswer } from './relevance.ts'

export interface QuestionProcessor {
  /**
   * Records the question and starts to answer it. With `delayMs` 0, a crash after it resolves loses nothing. Idempotent by question id.
   * `delayMs`: how long to wait for a more complete delivery of the same message; until then nothing is recorded.
   */
  submit(question: Question, delayMs?: number): Promise<void>
  /**
   * The message with this id was deleted, or with `file` only that file of it, by the id of its PictureRef: deletes the reply to
   * it, and all replies about its pictures. `fileKey()` as `id`: the file was deleted from all messages.
   */
  retract(id: string, file?: string): Promise<void>
  /**
   * Answers a question from a queue; resolves when the message can be removed from it.
   * @throws when it must be delivered again: BusyError `held` (another process holds the lease), `stopping`; store errors
   */
  process(question: Question): Promise<void>
  /** Claims the jobs whose lease has expired, now and every 15 s. */
  recoverAbandoned(): Promise<void>
  /** Resolves when no question is being answered. */
  drained(): Promise<void>
  /**
   * Accepts no more questions and waits up to `graceMs` for running ones. Then releases their leases for another process;
   * their `process` throws `stopping`.
   */
  shutdown(graceMs?: number): Promise<void>
}

/** Where platforms send their events: this processor, or a queue in front of it. */
export type QuestionSink = Pick<QuestionProcessor, 'submit' | 'retract'>

export interface ProcessorOptions extends Omit<AnswerDeps, 'now' | 'inFlight'> {
  platforms: readonly Platform[]
  now?: () => number
  sleep?: (ms: number) => Promise<void>
}

/** Questions older than this are not answered. Discord's interaction tokens expire then. */
const STALE_MS = 15 * 60_000
const LEASE_MS = 30_000
const HEARTBEAT_MS = 10_000
const RECOVER_EVERY_MS = 15_000
const SWEEP_EVERY_MS = HOUR_MS

/** Call `recoverAbandoned` once to answer what an earlier process left. */
export function openProcessor(options: ProcessorOptions): QuestionProcessor {
  const { store, platforms, preferences, keepMs, report } = options
  const now = options.now ?? Date.now
  const sleep = options.sleep ?? sleepFor
  const deps: AnswerDeps = { ...options, now, inFlight: new Set() }
  const kept = { store, keepMs, time: { now, sleep } }
  const jobs = openJobs(store, { ...kept, leaseMs: LEASE_MS })
  const mutex = keyedMutex()
  const running = new Set<Promise<void>>()
  /** The leases that this process holds. */
  const held = new Set<Claim>()
  /** Rejects each call of `process` that still waits. */
  const interrupts = new Set<(reason: BusyError) => void>()
  let closed = false
  let nextSweep = 0
  let recoverTimer: NodeJS.Timeout | undefined

  const platformOf = (name: string): Platform => {
    const found = platforms.find((platform) => platform.name === name)
    if (!found) throw new Error(`The job is of platform ${name}, which this process does not run.`)
    return found
  }
  const retryContext = (endsAt: number) => ({ endsAt, now, sleep, report })
  const retractedKey = (id: string) => `withdrawn/${sha256Hex(id)}`
  const isRetracted = async (id: string) => (await store.read(retractedKey(id))) !== undefined

  const track = (work: Promise<unknown>) => {
    const tracked = work.then(() => {}, report)
    running.add(tracked)
    void tracked.finally(() => running.delete(tracked))
  }

  const isRelevant = (question: Question) => {
    const isAnswerPending = async (name: string) =>
      [...held].some((claim) => claim.question.conversations.includes(name))
    return shouldAnswer(question, store, preferences, isAnswerPending)
  }

  const claimAndStart = async (question: Question): Promise<void> => {
    if (!(await isRelevant(question))) return
    const claim = await jobs.claim(question)
    if (typeof claim === 'object') track(answer(claim))
  }

  /**
   * Answers the questions of a conversation one after another, so that each knows the answers before it. The lease is
   * renewed while the question waits for its turn, too. Returns false when another process has claimed the job.
   */
  const answer = (claim: Claim): Promise<boolean> => {
    held.add(claim)
    const heartbeat = setInterval(() => void claim.renew().catch(report), HEARTBEAT_MS)
    return mutex
      .run(claim.question.conversations, () => run(claim))
      .finally(() => {
        clearInterval(heartbeat)
        held.delete(claim)
      })
  }

  const run = async (claim: Claim): Promise<boolean> => {
    const { question } = claim
    const platform = platformOf(question.platform)
    const isStale = now() - question.askedAt > STALE_MS
    if (isStale) countReply(question, 'stale')
    if (isStale || (await isRetracted(question.id))) {
      await claim.done([])
      return true
    }
    const { reply, exchanges, owner, typingStopped } = await answerQuestion(question, platform, deps)
    const context = {
      ...retryContext(question.askedAt + STALE_MS),
      isRetracted: () => isRetracted(question.id),
    }
    const posted = reply ? await deliver(claim, platform, reply, context) : []
    if (!posted) return false
    countReply(question, reply && posted.length === 0 ? 'undelivered' : outcomeOf(reply))
    if (exchanges.length > 0) await recordExchange(kept, question, exchanges, owner, namesOf(posted))
    await claim.done(posted)
    await typingStopped
    if (await isRetracted(question.id)) await retractAnswer(question.id)
    return true
  }

  /** Deletes the reply to a message. If the message brought the pictures, deletes all replies about them. */
  const retractAnswer = async (id: string): Promise<void> => {
    const job = await jobs.findDone(id)
    const about = await loadConversation(store, id)
    // A message that asked nothing but names a conversation is the one with the pictures.
    const hadPictures = job ? job.broughtPictures : about !== undefined && !about.isReply
    const ids = new Set([id])
    const names = new Set([id])
    // `names` grows in this loop: replies to replies are conversations of their own.
    for (const name of hadPictures ? names : []) {
      const named = await loadConversation(store, name)
      // A name such as the asker's last question may be about another picture by now.
      if (!named || !about || !sharesPicture(named, about.pictures)) {
        names.delete(name)
        continue
      }
      for (const each of named.questions) {
        ids.add(each)
        const answered = await jobs.findDone(each)
        for (const other of [...(answered?.conversations ?? []), ...namesOf(answered?.posted ?? [])])
          names.add(other)
      }
    }
    for (const each of ids) await retractReply(each)
    await deleteConversations(store, [...names])
  }

  const retractReply = async (id: string): Promise<void> => {
    const job = await jobs.findDone(id)
    if (!job) return
    await deleteTurn(kept, job.conversations, id)
    // Before the reply itself: the platform reports its deletion, too, and that is then about nothing.
    await deleteConversations(store, namesOf(job.posted))
    await deletePosted(job.posted, platformOf(job.platform), retryContext(now() + STALE_MS))
    await jobs.forgetReply(id)
  }

  const processor: QuestionProcessor = {
    async submit(question, delayMs = 0) {
      if (closed) throw stopping()
      if (delayMs === 0) await claimAndStart(question)
      else track(sleep(delayMs).then(() => claimAndStart(question)))
    },
    async retract(id, _file) {
      // First, so that a process that is answering the question sees it before and after it posts.
      await store.replace(retractedKey(id), jsonBytes(true), STALE_MS)
      await retractAnswer(id)
    },
    async process(question) {
      if (closed) throw stopping()
      if (!(await isRelevant(question))) return
      const claim = await jobs.claim(question)
      if (claim === 'done') return
      if (claim === 'leased') throw leasedElsewhere()
      const { promise, resolve, reject } = withResolvers<boolean>()
      interrupts.add(reject)
      const answered = answer(claim).then(resolve, async (error: unknown) => {
        await claim.release().catch(report)
        reject(error)
      })
      track(answered.finally(() => interrupts.delete(reject)))
      if (!(await promise)) throw leasedElsewhere()
    },
    async recoverAbandoned() {
      if (closed) return
      try {
        if (now() >= nextSweep) {
          nextSweep = now() + SWEEP_EVERY_MS
          await store.sweep()
        }
        const names = platforms.map(({ name }) => name)
        for (const claim of await jobs.claimAbandoned(names, report)) track(answer(claim))
      } catch (error) {
        report(error)
      } finally {
        recoverTimer = setTimeout(() => void processor.recoverAbandoned(), RECOVER_EVERY_MS).unref()
      }
    },
    async drained() {
      while (running.size > 0) await Promise.allSettled(running)
    },
    async shutdown(graceMs = 0) {
      closed = true
      clearTimeout(recoverTimer)
      await Promise.race([processor.drained(), sleep(graceMs)])
      // A job that may have a visible reply keeps its lease: until it expires, this process may still post.
      const left = [...held].filter(({ mayBePosted }) => !mayBePosted)
      await Promise.all(left.map((claim) => claim.release().catch(report)))
      for (const reject of interrupts) reject(stopping())
    },
  }
  return processor
}

function countReply({ platform }: Question, outcome: string): void {
  count('glimpse_chat_replies_total', { platform, outcome })
}

function outcomeOf(reply: ChatReply | undefined): string {
  if (!reply) return 'silent'
  return reply.parts.some(({ kind }) => kind !== 'problem') ? 'answered' : 'problem'
}

/** Conversations named after these replies: a message that replies to one of them continues it. */
function namesOf(posted: readonly Posted[]): string[] {
  return posted.flatMap(({ conversation }) => (conversation === undefined ? [] : [conversation]))
}

function leasedElsewhere(): BusyError {
  return new BusyError(
    'held',
    'Another process is answering this question. It is delivered again after that lease has expired.',
  )
}

function stopping(): BusyError {
  return new BusyError('stopping', 'Glimpse is stopping. Try again in a moment.')
}
