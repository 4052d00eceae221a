// Question -> job: the durable record by which a question is answered once. The question's id is the idempotency key:
// every delivery of a message finds the same job.
//
//   taken      Leased by one process until `until`. The holder renews the lease (the heartbeat of processor.ts). After it
//              expires, any process may claim the job.
//   answering  The same, and a reply may be visible. The next process to claim the job looks for that reply first, unless
//              `posted` says which it is.
//   done       The ids of the reply, to delete it with its source. The question is removed from the record. Where it is told
//              by a progress sign is left while the sign could not be removed.
//
// Claims and renewals are conditional writes (store.ts): of two processes that claim a job, one succeeds. The record is
// written before the event is acknowledged wherever the platform allows it; docs/privacy.md names the exceptions.

import { z } from 'zod'
import { keyedMutex } from '../concurrency.ts'
import { sha256Hex } from '../hash.ts'
import { jsonBytes, readJsonOf, type Store, type Time, updateJson } from '../store/store.ts'
import type { Posted } from './platform.ts'
import { type PictureRef, type Question, questionSchema } from './question.ts'

const jobSchema = z.discriminatedUnion('state', [
  z.object({
    state: z.enum(['taken', 'answering']),
    until: z.number(),
    question: questionSchema,
    posted: z.array(z.record(z.string(), z.string())).optional(),
  }),
  z.object({
    state: z.literal('done'),
    platform: z.string(),
    conversations: z.array(z.string()),
    /** The ids whose deletion deletes the pictures that it was about (posts.ts). */
    posts: z.array(z.string()).default([]),
    /** Hashes of the ids of the pictures that the question came with. */
    files: z.array(z.string()).default([]),
    posted: z.array(z.record(z.string(), z.string())),
    /** Its progress sign may still be visible. The question has no words and no pictures. */
    sign: questionSchema.optional(),
  }),
])
type Job = z.infer<typeof jobSchema>
type Done = Extract<Job, { state: 'done' }>
type Open = Exclude<Job, Done>

/** The lease of a job, held by this process. */
export interface Claim {
  question: Question
  /** Whether this or an earlier holder may have posted a reply. */
  readonly mayBePosted: boolean
  /** The reply that an earlier holder posted, where it recorded that. A private reply has no ids. */
  readonly posted?: readonly Posted[]
  /** An earlier holder did not finish. */
  readonly isRecovered: boolean
  /** The heartbeat: extends the lease. Returns false when it had expired and another process has claimed the job. */
  renew(): Promise<boolean>
  /** The same, and sets `mayBePosted`. */
  markPosting(): Promise<boolean>
  /** Records the reply before anything else can fail: the next holder does not post it again. */
  markPosted(posted: readonly Posted[]): Promise<boolean>
  /** Ends the lease, so that another process can claim the job at once. */
  release(): Promise<void>
  /** `posts`: see the record. `isSignLeft`: the progress sign may still be visible. */
  done(posted: readonly Posted[], posts?: readonly string[], isSignLeft?: boolean): Promise<void>
}

/** What `recover` found: jobs that are claimed now, and questions whose progress sign may still be visible. */
interface Recovered {
  claims: Claim[]
  signs: Question[]
}

/** `keepMs`: how long a job is kept. For this time, deliveries of the same question are recognized. */
export function openJobs(
  store: Store,
  { leaseMs, keepMs, time }: { leaseMs: number; keepMs: number; time: Time },
) {
  const leaseUntil =
    (endsAt = Number.POSITIVE_INFINITY) =>
    ({ state, question, posted }: Pick<Open, 'state' | 'question' | 'posted'>): Job => ({
      state,
      until: Math.min(time.now() + leaseMs, endsAt),
      question,
      posted,
    })

  const claimOf = (
    question: Question,
    lease: ReturnType<typeof leaseUntil>,
    version: string,
    found?: Open,
  ): Claim => {
    const key = keyOf(question.id)
    let currentVersion = version
    let state = found?.state ?? 'taken'
    let reply = found?.posted
    let isReleased = false
    // A heartbeat during another write would fail it: both replace the version that this process wrote last.
    const mutex = keyedMutex()
    const write = (job: Job) =>
      mutex.run([key], async () => {
        if (isReleased) return false
        const next = await store.replace(key, jsonBytes(job), keepMs, currentVersion)
        currentVersion = next ?? currentVersion
        return next !== undefined
      })
    return {
      question,
      get mayBePosted() {
        return state === 'answering'
      },
      posted: found?.posted,
      isRecovered: found !== undefined,
      renew: () => write(lease({ state, question, posted: reply })),
      markPosting() {
        state = 'answering'
        return write(lease({ state, question }))
      },
      markPosted(posted) {
        reply = [...posted]
        return write(lease({ state, question, posted: reply }))
      },
      async release() {
        await write({ state, until: time.now(), question, posted: reply })
        isReleased = true
      },
      // Written without a version: the reply is visible, whichever process holds the lease.
      async done(posted, posts = [], isSignLeft = false) {
        const { platform, conversations } = question
        const job: Job = {
          state: 'done',
          platform,
          conversations,
          posts: [...posts],
          files: question.pictures.map(hashOf),
          posted: [...posted],
          sign: isSignLeft ? { ...question, text: '', pictures: [], request: undefined } : undefined,
        }
        await mutex.run([key], () => store.replace(key, jsonBytes(job), keepMs))
        if (!isSignLeft) await store.remove(pendingKeyOf(question.id))
      },
    }
  }

  /** Returns undefined when there is no job. */
  const claimExpired = async (key: string, isIncluded = (_: Question) => true, endsAt?: number) => {
    const found = await readJsonOf(store, key, jobSchema.parse)
    if (!found) return undefined
    if (found.value.state === 'done') return found.value
    const { question, until } = found.value
    if (until > time.now() || !isIncluded(question)) return 'leased'
    const lease = leaseUntil(endsAt)
    const version = await store.replace(key, jsonBytes(lease(found.value)), keepMs, found.version)
    return version === undefined ? 'leased' : claimOf(question, lease, version, found.value)
  }

  return {
    /**
     * Claims a new job, or one whose lease has expired. Otherwise returns its state: `leased` or `done`.
     * @param endsAt when this process ends by itself: no lease is longer, so that the next process need not wait
     */
    async claim(question: Question, endsAt?: number): Promise<Claim | 'done' | 'leased'> {
      const key = keyOf(question.id)
      const known = await claimExpired(key, undefined, endsAt)
      if (known) return typeof known === 'object' && 'state' in known ? 'done' : known
      // Before the job: a crash in between leaves a mark without a job, not a job that `recover` cannot find.
      await store.replace(pendingKeyOf(question.id), new Uint8Array(), keepMs)
      const lease = leaseUntil(endsAt)
      const version = await store.create(key, jsonBytes(lease({ state: 'taken', question })), keepMs)
      return version === undefined ? 'leased' : claimOf(question, lease, version)
    },
    /** Claims the jobs that `isIncluded` and whose lease has expired, oldest question first. */
    async recover(
      isIncluded: (question: Question) => boolean,
      report: (error: unknown) => void,
    ): Promise<Recovered> {
      const claims: Claim[] = []
      const signs: Question[] = []
      for (const pendingKey of await store.list(`${PENDING}/`)) {
        const key = `jobs/${pendingKey.slice(PENDING.length + 1)}`
        try {
          const found = await claimExpired(key, isIncluded)
          if (typeof found !== 'object') continue
          if (!('state' in found)) claims.push(found)
          else if (found.sign) signs.push(found.sign)
          else await store.remove(pendingKey)
        } catch (error) {
          report(error)
        }
      }
      claims.sort((one, other) => one.question.askedAt - other.question.askedAt)
      return { claims, signs }
    },
    /** The progress sign of an answered question is gone, or is given up. */
    async forgetSign(id: string): Promise<void> {
      const without = (job: Job | undefined) =>
        job?.state === 'done' ? { ...job, sign: undefined } : undefined
      await updateJson(store, keyOf(id), jobSchema.parse, keepMs, without, time)
      await store.remove(pendingKeyOf(id))
    },
    /** Whether a question was asked, and came with one of these pictures, if there are any. */
    async wasAsked(id: string, pictures: readonly PictureRef[]): Promise<boolean> {
      const job = (await readJsonOf(store, keyOf(id), jobSchema.parse))?.value
      if (!job) return false
      const asked = job.state === 'done' ? job.files : job.question.pictures.map(hashOf)
      return pictures.length === 0 || pictures.some((each) => asked.includes(hashOf(each)))
    },
    /** Returns the record of an answered question. */
    async findDone(id: string): Promise<Done | undefined> {
      const found = await readJsonOf(store, keyOf(id), jobSchema.parse)
      return found?.value.state === 'done' ? found.value : undefined
    },
    /** Removes the reply from the record. The question stays `done`. */
    async forgetReply(id: string): Promise<void> {
      const emptied = (job: Job | undefined) =>
        job?.state === 'done' ? { ...job, conversations: [], posts: [], files: [], posted: [] } : undefined
      await updateJson(store, keyOf(id), jobSchema.parse, keepMs, emptied, time)
    },
  }
}

function hashOf({ id }: PictureRef): string {
  return sha256Hex(id).slice(0, 16)
}

function keyOf(id: string): string {
  return `jobs/${sha256Hex(id)}`
}

/** A mark for each job that is not done, so that `recover` does not read all jobs. */
const PENDING = 'open'

function pendingKeyOf(id: string): string {
  return `${PENDING}/${sha256Hex(id)}`
}
