// A question is answered once: the record of it, from the moment it is taken.
//
//   taken     -> somebody works on it until `until`, which they put off; after that it is anybody's
//   answering -> a reply may be visible already: whoever goes on looks for it first
//   done      -> what was posted, to be deleted with its source; the question itself is gone from the record
//
// The record is written before the platform is told that the question came, so that a crash loses nothing: what is not
// done is found and gone on with when the process starts again.

import { createHash } from 'node:crypto'
import { z } from 'zod'
import { jsonBytes, readJsonOf, type Store } from '../store/store.ts'
import type { Posted } from './platform.ts'
import { type Question, questionSchema } from './question.ts'

const recordSchema = z.discriminatedUnion('state', [
  z.object({ state: z.literal('taken'), until: z.number(), question: questionSchema }),
  z.object({ state: z.literal('answering'), until: z.number(), question: questionSchema }),
  z.object({
    state: z.literal('done'),
    platform: z.string(),
    /** Conversations about pictures that came with this very question. */
    conversations: z.array(z.string()),
    posted: z.array(z.record(z.string(), z.string())),
  }),
])
type Job = z.infer<typeof recordSchema>
type Done = Extract<Job, { state: 'done' }>

/** A question that is ours to answer until `until`. */
export interface Claim {
  question: Question
  /** An earlier try may have posted a reply. */
  mayBePosted: boolean
  /** Goes on holding it. False: the claim ran out and somebody else has the question. */
  hold(): Promise<boolean>
  /** The same, and from now on a reply may be visible. */
  answering(): Promise<boolean>
  done(posted: readonly Posted[]): Promise<void>
}

export interface Jobs {
  /** Undefined: this very question was taken before. */
  take(question: Question): Promise<Claim | undefined>
  /** Questions from these platforms that nobody works on any more, each claimed. */
  takeAbandoned(platforms: readonly string[]): AsyncIterable<Claim>
  /** What a question came to, once it is answered. */
  findDone(id: string): Promise<Done | undefined>
  /** The reply is no more; that the question was answered is still known. */
  forgetReply(id: string): Promise<void>
}

export interface JobsOptions {
  /** How long a question may take until another may have it. */
  claimMs: number
  /** How long it is known that it was answered. */
  keepMs: number
  now?: () => number
}

export function openJobs(store: Store, { claimMs, keepMs, now = Date.now }: JobsOptions): Jobs {
  const claimed = (question: Question, version: string, mayBePosted: boolean): Claim => {
    let mine = version
    let state: 'taken' | 'answering' = mayBePosted ? 'answering' : 'taken'
    const put = async (job: Job) => {
      const next = await store.replace(keyOf(question.id), jsonBytes(job), keepMs, mine)
      if (next !== undefined) mine = next
      return next !== undefined
    }
    return {
      question,
      mayBePosted,
      hold: () => put({ state, until: now() + claimMs, question }),
      answering() {
        state = 'answering'
        return put({ state, until: now() + claimMs, question })
      },
      // Posted is posted, whoever holds the record.
      async done(posted) {
        const conversations = question.pictures.length > 0 ? question.conversations : []
        const job: Job = { state: 'done', platform: question.platform, conversations, posted: [...posted] }
        await store.replace(keyOf(question.id), jsonBytes(job), keepMs)
      },
    }
  }

  return {
    async take(question) {
      const job: Job = { state: 'taken', until: now() + claimMs, question }
      const version = await store.create(keyOf(question.id), jsonBytes(job), keepMs)
      return version === undefined ? undefined : claimed(question, version, false)
    },
    async *takeAbandoned(platforms) {
      for (const key of await store.list('jobs/')) {
        const found = await readJsonOf(store, key, recordSchema.parse)
        if (!found || found.value.state === 'done' || found.value.until > now()) continue
        const { question, state } = found.value
        if (!platforms.includes(question.platform)) continue
        const job: Job = { state, until: now() + claimMs, question }
        const version = await store.replace(key, jsonBytes(job), keepMs, found.version)
        if (version !== undefined) yield claimed(question, version, state === 'answering')
      }
    },
    async findDone(id) {
      const found = await readJsonOf(store, keyOf(id), recordSchema.parse)
      return found?.value.state === 'done' ? found.value : undefined
    },
    async forgetReply(id) {
      const found = await readJsonOf(store, keyOf(id), recordSchema.parse)
      if (found?.value.state !== 'done') return
      const emptied: Job = { ...found.value, conversations: [], posted: [] }
      await store.replace(keyOf(id), jsonBytes(emptied), keepMs, found.version)
    },
  }
}

function keyOf(id: string): string {
  return `jobs/${hashed(id)}`
}

/** A name of any letters as a key's. */
export function hashed(name: string): string {
  return createHash('sha256').update(name).digest('hex')
}
