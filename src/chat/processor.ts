// Question -> Job -> Reply, for every platform: each question is taken once, thought about, and answered so that its
// asker sees it once, whatever breaks on the way. What is said is answer-question.ts, how it gets there deliver.ts.

import { keyedMutex } from '../concurrency.ts'
import { BusyError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { count } from '../observe/metrics.ts'
import { jsonBytes } from '../store/store.ts'
import { HOUR_MS, sleep as sleepFor } from '../time.ts'
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
   * Takes a question: once this resolves it will be answered, even if the process dies. One taken before is not taken
   * again. `delayMs`: how long a fuller delivery of the same message may take its place.
   */
  submit(question: Question, delayMs?: number): Promise<void>
  /** The message with this question is gone: so is the reply. */
  retract(id: string): Promise<void>
  /**
   * For a question that waits in a queue: answers it, and resolves when nothing is left to do about it.
   * @throws when it is to be delivered again: somebody else holds it, the store failed, this process stops
   */
  process(question: Question): Promise<void>
  /** Takes up what other processes left, now and from time to time. */
  recoverAbandoned(): Promise<void>
  /** Resolves when nothing is being answered. */
  drained(): Promise<void>
  /**
   * Takes nothing more and lets what runs finish, up to `graceMs`; the rest is let go, for another process or the next
   * start to answer, and `process` throws `stopping`.
   */
  shutdown(graceMs?: number): Promise<void>
}

/** Where what is heard goes: the desk itself, or a queue in front of it. */
export type QuestionSink = Pick<QuestionProcessor, 'submit' | 'retract'>

export interface ProcessorOptions extends Omit<AnswerDeps, 'now' | 'inFlight'> {
  platforms: readonly Platform[]
  now?: () => number
  /** Another in tests. */
  sleep?: (ms: number) => Promise<void>
}

/** A question this old is of no use to anybody, and Discord's tokens end then. */
const STALE_MS = 15 * 60_000
const LEASE_MS = 30_000
const HEARTBEAT_MS = 10_000
const RECOVER_EVERY_MS = 15_000
const SWEEP_EVERY_MS = HOUR_MS

/** Opens the desk; `recoverAbandoned` sets it going again after a stop. */
export function openProcessor(options: ProcessorOptions): QuestionProcessor {
  const { store, platforms, preferences, keepMs, report } = options
  const now = options.now ?? Date.now
  const sleep = options.sleep ?? sleepFor
  const deps: AnswerDeps = { ...options, now, inFlight: new Set() }
  const time = { now, sleep }
  const jobs = openJobs(store, { leaseMs: LEASE_MS, keepMs, time })
  const mutex = keyedMutex()
  const running = new Set<Promise<void>>()
  const atWork = new Set<Claim>()
  /** How many answers are on their way in a conversation. */
  const awaited = new Map<string, number>()
  let closed = false
  /** Whoever waits for what they handed us; told when it will not be done here. */
  const waiting = new Set<() => void>()
  let nextSweep = 0
  let recovering: NodeJS.Timeout | undefined

  const platformOf = (name: string): Platform => {
    const found = platforms.find((platform) => platform.name === name)
    if (!found) throw new Error(`Expected one of the platforms that run here but got ${name}.`)
    return found
  }
  const retryContext = (endsAt: number) => ({ endsAt, now, sleep, report })
  const retractedKey = (id: string) => `withdrawn/${sha256Hex(id)}`
  const isRetracted = async (id: string) => (await store.read(retractedKey(id))) !== undefined

  const track = (work: Promise<void>) => {
    const tracked = work.catch(report)
    running.add(tracked)
    void tracked.finally(() => running.delete(tracked))
  }

  const claimAndStart = async (question: Question): Promise<void> => {
    if (!(await isRelevant(question))) return
    const claim = await jobs.claimNew(question)
    if (claim) start(claim)
  }

  const isRelevant = (question: Question) => {
    // The answer that it follows may still be on its way.
    const isAnswerPending = async (name: string) => (awaited.get(name) ?? 0) > 0
    return shouldAnswer(question, { store, preferences, isAnswerPending })
  }

  const start = (claim: Claim) => track(answer(claim).then(() => {}))

  /**
   * In one thread one after another, so that a question knows the answer to the one before. False: it is somebody
   * else's by now.
   */
  const answer = (claim: Claim): Promise<boolean> => {
    const names = claim.question.conversations
    for (const name of names) awaited.set(name, (awaited.get(name) ?? 0) + 1)
    // Held from now on: it is ours while it waits for its turn, too.
    atWork.add(claim)
    const heartbeat = setInterval(() => void claim.renew().catch(report), HEARTBEAT_MS)
    const ended = () => {
      clearInterval(heartbeat)
      atWork.delete(claim)
      for (const name of names) awaited.set(name, awaited.get(name)! - 1)
      for (const name of names) if (awaited.get(name) === 0) awaited.delete(name)
    }
    return mutex.run(names, () => run(claim)).finally(ended)
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
    const posted = reply
      ? await deliver(claim, platform, reply, {
          ...retryContext(question.askedAt + STALE_MS),
          isRetracted: () => isRetracted(question.id),
        })
      : []
    if (!posted) return false
    countReply(question, reply && posted.length === 0 ? 'undelivered' : outcomeOf(reply))
    if (exchanges.length > 0) {
      await recordExchange(store, question, exchanges, owner, keepMs, namesOf(posted), time)
    }
    await claim.done(posted)
    await typingStopped
    if (await isRetracted(question.id)) await retractAnswer(question.id)
    return true
  }

  /** A message is gone, and the reply to it; where the pictures hung on it, all that was said about them. */
  const retractAnswer = async (id: string): Promise<void> => {
    const job = await jobs.findDone(id)
    const about = await loadConversation(store, id)
    // A message that asked nothing, and that something was asked about, is the one with the pictures.
    const hadPictures = job ? job.broughtPictures : about !== undefined && !about.isReply
    const ids = new Set([id])
    const names = new Set([id])
    for (const name of hadPictures ? names : []) {
      const named = await loadConversation(store, name)
      // Under what its asker asked last there may be another picture by now.
      if (!named || !about || !sharesPicture(named, about.pictures)) {
        names.delete(name)
        continue
      }
      for (const each of named.questions) {
        ids.add(each)
        // Who replied to our replies asked under their names.
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
    await deleteTurn(store, job.conversations, id, keepMs, time)
    // Before the reply itself: its going is told to us as well.
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
    async retract(id) {
      // Said first, so that an answer under way in another process hears of it too.
      await store.replace(retractedKey(id), jsonBytes(true), STALE_MS)
      await retractAnswer(id)
    },
    async process(question) {
      if (closed) throw stopping()
      if (!(await isRelevant(question))) return
      const claimed = await jobs.claim(question)
      if (claimed === 'done') return
      if (claimed === 'leased') throw leasedElsewhere()
      const work = answer(claimed)
      track(work.then(ignore, ignore))
      const ended = work.catch(async (error: unknown) => {
        await claimed.release().catch(report)
        throw error
      })
      const isEnded = await new Promise<boolean>((resolve, reject) => {
        const giveUp = () => reject(stopping())
        waiting.add(giveUp)
        ended.finally(() => waiting.delete(giveUp)).then(resolve, reject)
      })
      if (!isEnded) throw leasedElsewhere()
    },
    async recoverAbandoned() {
      if (closed) return
      try {
        if (now() >= nextSweep) {
          nextSweep = now() + SWEEP_EVERY_MS
          await store.sweep()
        }
        const names = platforms.map(({ name }) => name)
        for (const claim of await jobs.claimAbandoned(names, report)) start(claim)
      } catch (error) {
        report(error)
      } finally {
        recovering = setTimeout(() => void processor.recoverAbandoned(), RECOVER_EVERY_MS).unref()
      }
    },
    async drained() {
      while (running.size > 0) await Promise.allSettled(running)
    },
    async shutdown(graceMs = 0) {
      closed = true
      clearTimeout(recovering)
      await Promise.race([processor.drained(), sleep(graceMs)])
      // A reply that may be on its way from here is looked for by the next when the claim has run out.
      const left = [...atWork].filter(({ mayBePosted }) => !mayBePosted)
      await Promise.all(left.map((claim) => claim.release().catch(report)))
      for (const giveUp of waiting) giveUp()
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

/** Whoever replies to a reply of ours means what that is about. */
function namesOf(posted: readonly Posted[]): string[] {
  return posted.flatMap(({ conversation }) => (conversation === undefined ? [] : [conversation]))
}

function ignore(): void {}

function leasedElsewhere(): BusyError {
  return new BusyError('held', 'Expected a question that nobody works on but somebody does.')
}

function stopping(): BusyError {
  return new BusyError('stopping', 'Glimpse is stopping. Try again in a moment.')
}
