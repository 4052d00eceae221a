// A question is answered once: the record of it, from the moment it is taken.
//
//   taken     -> somebody works on it until `until`, which they put off; after that it is anybody's
//   answering -> a reply may be visible already: whoever goes on looks for it first
//   done      -> what was posted, to be deleted with its source; the question itself is gone from the record
//
// The record is written before the platform is told that the question came, so that a crash loses nothing: what is not
// done is found and gone on with when the process starts again.

import { z } from 'zod'
import { keyedMutex } from '../concurrency.ts'
import { sha256Hex } from '../hash.ts'
import { jsonBytes, readJsonOf, type Store, type Time, updateJson } from '../store/store.ts'
import type { Posted } from './platform.ts'
import { type Question, questionSchema } from './question.ts'

const recordSchema = z.discriminatedUnion('state', [
  z.object({ state: z.literal('taken'), until: z.number(), question: questionSchema }),
  z.object({ state: z.literal('answering'), until: z.number(), question: questionSchema }),
  z.object({
    state: z.literal('done'),
    platform: z.string(),
    conversations: z.array(z.string()),
    /** Whether the pictures hang on this very message: then all that is said about them goes with it. */
    broughtPictures: z.boolean(),
    posted: z.array(z.record(z.string(), z.string())),
  }),
])
type Job = z.infer<typeof recordSchema>
type Done = Extract<Job, { state: 'done' }>

/** A question that is ours to answer until `until`. */
export interface Claim {
  question: Question
  /** This or an earlier try may have posted a reply. */
  readonly mayBePosted: boolean
  /** Goes on holding it. False: the claim ran out and somebody else has the question. */
  renew(): Promise<boolean>
  /** The same, and from now on a reply may be visible. */
  markPosting(): Promise<boolean>
  /** Somebody else may have it at once; ours it is no more. */
  release(): Promise<void>
  done(posted: readonly Posted[]): Promise<void>
}

export interface Jobs {
  /** Undefined: this very question was taken before. */
  claimNew(question: Question): Promise<Claim | undefined>
  /** The same, or what became of it: `done`, or `leased` by somebody who works on it. */
  claim(question: Question): Promise<Claim | 'done' | 'leased'>
  /** Questions from these platforms that nobody works on any more, each claimed, in the order they were asked. */
  claimAbandoned(platforms: readonly string[], report: (error: unknown) => void): Promise<Claim[]>
  /** What a question came to, once it is answered. */
  findDone(id: string): Promise<Done | undefined>
  /** The reply is no more; that the question was answered is still known. */
  forgetReply(id: string): Promise<void>
}

export interface JobsOptions {
  /** How long a question may take until another may have it. */
  leaseMs: number
  /** How long it is known that it was answered. */
  keepMs: number
  time: Time
}

export function openJobs(store: Store, { leaseMs, keepMs, time }: JobsOptions): Jobs {
  const { now } = time
  const claimed = (question: Question, version: string, mayBePosted: boolean): Claim => {
    let mine = version
    let state: 'taken' | 'answering' = mayBePosted ? 'answering' : 'taken'
    let isOurs = true
    const mutex = keyedMutex()
    const put = (job: Job) =>
      mutex.run([question.id], async () => {
        if (!isOurs) return false
        const next = await store.replace(keyOf(question.id), jsonBytes(job), keepMs, mine)
        if (next !== undefined) mine = next
        return next !== undefined
      })
    return {
      question,
      get mayBePosted() {
        return state === 'answering'
      },
      renew: () => put({ state, until: now() + leaseMs, question }),
      markPosting() {
        state = 'answering'
        return put({ state, until: now() + leaseMs, question })
      },
      async release() {
        await put({ state, until: now(), question })
        isOurs = false
      },
      // Posted is posted, whoever holds the record.
      async done(posted) {
        const job: Job = {
          state: 'done',
          platform: question.platform,
          conversations: question.conversations,
          broughtPictures: bringsPictures(question),
          posted: [...posted],
        }
        await mutex.run([question.id], () => store.replace(keyOf(question.id), jsonBytes(job), keepMs))
        await store.remove(pendingKeyOf(question.id))
      },
    }
  }

  /** A record that its holder let go of, or died with. */
  const claimExpired = async (key: string): Promise<Claim | 'done' | 'leased' | undefined> => {
    const found = await readJsonOf(store, key, recordSchema.parse)
    if (!found || found.value.state === 'done') return found && 'done'
    if (found.value.until > now()) return 'leased'
    const { question, state } = found.value
    const job: Job = { state, until: now() + leaseMs, question }
    const version = await store.replace(key, jsonBytes(job), keepMs, found.version)
    return version === undefined ? 'leased' : claimed(question, version, state === 'answering')
  }

  const jobs: Jobs = {
    async claimNew(question) {
      if (await store.read(keyOf(question.id))) return undefined
      // Before the record, so that there is none which nobody would find again.
      await store.replace(pendingKeyOf(question.id), new Uint8Array(), keepMs)
      const job: Job = { state: 'taken', until: now() + leaseMs, question }
      const version = await store.create(keyOf(question.id), jsonBytes(job), keepMs)
      return version === undefined ? undefined : claimed(question, version, false)
    },
    async claim(question) {
      return (await jobs.claimNew(question)) ?? (await claimExpired(keyOf(question.id))) ?? 'leased'
    },
    async claimAbandoned(platforms, report) {
      const claims: Claim[] = []
      for (const pendingKey of await store.list(`${PENDING}/`)) {
        const key = `jobs/${pendingKey.slice(PENDING.length + 1)}`
        try {
          const found = await readJsonOf(store, key, recordSchema.parse)
          if (found?.value.state === 'done') await store.remove(pendingKey)
          // Another deployment's platform, which shares the store.
          if (!found || found.value.state === 'done' || !platforms.includes(found.value.question.platform))
            continue
          const claimed = await claimExpired(key)
          if (typeof claimed === 'object') claims.push(claimed)
        } catch (error) {
          report(error)
        }
      }
      // A picture before what is asked about it.
      return claims.sort((one, other) => one.question.askedAt - other.question.askedAt)
    },
    async findDone(id) {
      const found = await readJsonOf(store, keyOf(id), recordSchema.parse)
      return found?.value.state === 'done' ? found.value : undefined
    },
    async forgetReply(id) {
      const emptied = (job: Job | undefined) =>
        job?.state === 'done' ? { ...job, conversations: [], posted: [] } : undefined
      await updateJson(store, keyOf(id), recordSchema.parse, keepMs, emptied, time)
    },
  }
  return jobs
}

/** Not those of a message that it replies to. */
function bringsPictures({ pictures, source }: Question): boolean {
  return pictures.length > 0 && pictures.every(({ message }) => !message || message.id === source)
}

function keyOf(id: string): string {
  return `jobs/${sha256Hex(id)}`
}

/** A mark for each question that is not done, so that these few are found among all that are. */
const PENDING = 'open'

function pendingKeyOf(id: string): string {
  return `${PENDING}/${sha256Hex(id)}`
}
