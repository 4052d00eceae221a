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
import { type Exchange, recordExchange } from './conversation.ts'
import { deletePosted, deliver, findEarlier } from './deliver.ts'
import { isKnownEdit, isOurs, isSecond } from './duplicates.ts'
import { isStillWanted, openIntake } from './intake.ts'
import { type Claim, openJobs } from './jobs.ts'
import { namesOf, type Platform, type Posted } from './platform.ts'
import { deletionIds, readPost, recordPosts } from './posts.ts'
import { fileKey, type Question } from './question.ts'
import { openRetraction } from './retraction.ts'
import { openSigns, removeSign } from './signs.ts'

export interface QuestionProcessor {
  /**
   * Records the question and starts to answer it: a crash after it resolves loses nothing. Idempotent by question id. Questions
   * of a conversation are answered in the order of these calls.
   * `delayMs`: how long to wait for a more complete delivery of the same message; until then nothing is recorded.
   */
  submit(question: Question, delayMs?: number): Promise<void>
  /**
   * The message with this id was deleted, or a file by its `fileKey()`: deletes the reply to it, all replies about its
   * pictures, and what is kept about them. With `filesLeft`, the message stays, with the files of these ids: only those that
   * it has no more count as deleted.
   */
  retract(id: string, filesLeft?: readonly string[]): Promise<void>
  /**
   * Answers a question from a queue; resolves when the message can be removed from it.
   * @param endsAt when this process ends by itself, in milliseconds since 1970: lease, answer and retries end before
   * @throws when it must be delivered again: BusyError `held` (another process holds the lease), `stopping`; store errors
   */
  process(question: Question, endsAt?: number): Promise<void>
  /** Claims the jobs whose lease has expired, and removes progress signs that are left, now and every 15 s. */
  recoverAbandoned(): Promise<void>
  /** Removes progress signs that are left. For a process whose queue delivers abandoned questions again. */
  removeSigns(): Promise<void>
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
/** The same for a question whose answer a dead process had begun: its asker saw that, and still waits. */
const RECOVERED_STALE_MS = HOUR_MS
/** For finding the reply of a question that is older. */
const FIND_MS = 30_000
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
  const claimJob = async (question: Question, endsAt?: number) =>
    (await isKnownEdit(question, jobs)) ? 'done' : await jobs.claim(question, endsAt)
  const mutex = keyedMutex()
  const running = new Set<Promise<void>>()
  /** The leases that this process holds. */
  const held = new Set<Claim>()
  /** What this process posted, until that is recorded: whatever fails after it, it is not posted again. */
  const unrecorded = new Map<string, readonly Posted[]>()
  /** By question id: resolves when it is recorded. */
  const recorded = new Map<string, Promise<void>>()
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
  const isPlatform = (name: string) => platforms.some((platform) => platform.name === name)
  const signs = openSigns({ jobs, platformOf, time: kept.time, report })
  const retryContext = (endsAt: number, processEndsAt?: number) => ({
    endsAt,
    processEndsAt,
    now,
    sleep,
    report,
  })
  const retractAnswer = openRetraction({
    kept,
    jobs,
    platformOf,
    engine: deps.engine,
    retryContext: () => retryContext(now() + STALE_MS),
  })
  const retractedKey = (id: string) => `withdrawn/${sha256Hex(id)}`
  const isRetracted = async (ids: readonly string[]) =>
    (await Promise.all(ids.map((id) => store.read(retractedKey(id))))).some((mark) => mark !== undefined)

  const track = (work: Promise<unknown>) => {
    const tracked = work.then(() => {}, report)
    running.add(tracked)
    void tracked.finally(() => running.delete(tracked))
  }

  const isAnswerPending = async (name: string) =>
    [...held].some((claim) => claim.question.conversations.includes(name))
  const intake = openIntake({ kept, preferences, isAnswerPending, sleep })

  /** Holds the claim, with a heartbeat, until the returned function is called. */
  const hold = (claim: Claim): (() => void) => {
    held.add(claim)
    const heartbeat = setInterval(() => void claim.renew().catch(report), HEARTBEAT_MS)
    return () => {
      clearInterval(heartbeat)
      held.delete(claim)
    }
  }

  /**
   * Answers the questions of a conversation one after another, so that each knows the answers before it. The lease is
   * renewed while the question waits for its turn, too. Returns false when another process has claimed the job.
   */
  const answer = (claim: Claim, endsAt?: number): Promise<boolean> => {
    const end = hold(claim)
    return mutex.run(claim.question.conversations, () => run(claim, endsAt)).finally(end)
  }

  /** Reserves the turn at once, and takes it when the question is recorded. */
  const claimAndStart = async (question: Question, delayMs: number): Promise<void> => {
    const admitted = intake.admit(question, delayMs)
    if (!admitted) return await recorded.get(question.id)
    const claimed = admitted.question.then(async (whole) => {
      const claim = whole && (await claimJob(whole))
      return typeof claim === 'object' ? { claim, end: hold(claim) } : undefined
    })
    const take = async () => {
      const taken = await claimed.catch(() => undefined)
      if (taken) await run(taken.claim).finally(taken.end)
    }
    track(mutex.run(question.conversations, take))
    const done = claimed
      .then(() => {})
      .finally(() => {
        admitted.release()
        recorded.delete(question.id)
      })
    recorded.set(question.id, done)
    await done
  }

  const run = async (claim: Claim, processEndsAt?: number): Promise<boolean> => {
    const { question, isRecovered } = claim
    const platform = platformOf(question.platform)
    const endsAt = question.askedAt + (isRecovered ? RECOVERED_STALE_MS : STALE_MS)
    const isStale = now() > endsAt
    const context = retryContext(endsAt, processEndsAt)
    const earlier =
      unrecorded.get(question.id) ??
      (await findEarlier(claim, platform, { ...context, endsAt: Math.max(endsAt, now() + FIND_MS) }))
    const isGone = await isRetracted([question.id])
    if (isStale || isGone) {
      if (isStale && !earlier) countReply(question, 'stale')
      return await finish(claim, earlier ?? [], earlier ? picturesOf(question) : [])
    }
    if (!earlier && !(await isOurs(question, platform, { store, keepMs: STALE_MS }))) {
      countReply(question, 'silent')
      return await finish(claim, [], [])
    }
    const attempt = { isRepeated: isRecovered, endsAt: processEndsAt }
    const { reply, exchanges, isSignGone } = await answerQuestion(question, platform, deps, attempt)
    const ids = [question.id, ...exchanges.flatMap(({ picture }) => deletionIds(platform.name, picture))]
    let posted = earlier
    if (!earlier && reply) {
      const delivery = await deliver(claim, platform, reply, {
        ...context,
        isRetracted: () => isRetracted(ids),
      })
      if (delivery.kind === 'lost') return false
      if (delivery.kind === 'posted') {
        posted = delivery.posted
        unrecorded.set(question.id, posted)
        await claim.markPosted(posted)
      }
      countReply(question, delivery.kind === 'refused' ? 'undelivered' : outcomeOf(reply, delivery.kind))
    } else if (!earlier) countReply(question, 'silent')
    if (posted && (await isSecond(question, platform, posted))) {
      await deletePosted(posted, platform, retryContext(now() + STALE_MS))
      return await finish(claim, [], [], isSignGone)
    }
    const about = exchanges.length > 0 || !earlier ? exchanges : picturesOf(question)
    return await finish(claim, posted ?? [], about, isSignGone)
  }

  /** Records what was posted, so that deletions find it, and ends the job. */
  const finish = async (
    claim: Claim,
    posted: readonly Posted[],
    exchanges: readonly Exchange[],
    isSignGone = Promise.resolve(true),
  ): Promise<true> => {
    const { question } = claim
    const platform = platformOf(question.platform)
    if (exchanges.length > 0) {
      const conversations = [...question.conversations, ...namesOf(posted)]
      await recordPosts(kept, question.platform, exchanges, { question: question.id, conversations })
      await recordExchange(kept, question, exchanges, namesOf(posted))
    }
    const about = exchanges.flatMap(({ picture }) => deletionIds(platform.name, picture))
    // An earlier holder may have left its sign.
    const isGone = await (claim.isRecovered ? removeSign(question, platform, report) : isSignGone)
    await claim.done(posted, about, !isGone)
    unrecorded.delete(question.id)
    if (!isGone) track(signs.retry(question))
    for (const id of [question.id, ...about]) if (await isRetracted([id])) await retractAnswer(id)
    return true
  }

  const processor: QuestionProcessor = {
    async submit(question, delayMs = 0) {
      if (closed) throw stopping()
      await claimAndStart(question, delayMs)
    },
    async retract(id, filesLeft) {
      if (filesLeft) {
        const entries = await readPost(kept, id)
        const gone = entries.filter(({ file }) => !filesLeft.includes(file))
        for (const { platform, file } of gone) await processor.retract(fileKey(platform, file))
        return
      }
      // First, so that a process that is answering the question sees it before and after it posts.
      await store.replace(retractedKey(id), jsonBytes(true), STALE_MS)
      await retractAnswer(id)
    },
    async process(question, endsAt) {
      if (closed) throw stopping()
      if (!(await isStillWanted(question, { store, preferences, isAnswerPending }))) return
      const claim = await claimJob(question, endsAt)
      if (claim === 'done') return
      if (claim === 'leased') throw leasedElsewhere()
      const { promise, resolve, reject } = withResolvers<boolean>()
      interrupts.add(reject)
      const answered = answer(claim, endsAt).then(resolve, async (error: unknown) => {
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
        // Deployments with other platforms may share the store.
        const found = await jobs.recover(({ platform }) => isPlatform(platform), report)
        for (const claim of found.claims) track(answer(claim))
        await signs.removeLeft(found.signs.filter(({ platform }) => isPlatform(platform)))
      } catch (error) {
        report(error)
      } finally {
        recoverTimer = setTimeout(() => void processor.recoverAbandoned(), RECOVER_EVERY_MS).unref()
      }
    },
    async removeSigns() {
      const found = await jobs.recover(() => false, report)
      await signs.removeLeft(found.signs.filter(({ platform }) => isPlatform(platform)))
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

function outcomeOf(reply: ChatReply, kind: 'posted' | 'retracted'): string {
  if (kind === 'retracted') return 'silent'
  return reply.parts.some(({ kind }) => kind !== 'problem') ? 'answered' : 'problem'
}

function picturesOf({ pictures, owner }: Question): Exchange[] {
  return pictures.map((picture) => ({ picture, owner }))
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
