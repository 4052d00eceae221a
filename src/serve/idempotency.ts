// `Idempotency-Key`: the same ask sent again, because an answer was lost on its way, is answered from memory.
//
// A key is under way or done. In one process the second waits for the first; between processes, which share a store, it
// looks there until the first is done, or until the process that worked on it has not renewed its record in time: then it
// does the work itself. What failed is forgotten, and the next one that waited does the work.

import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { keyedMutex } from '../concurrency.ts'
import type { InferenceResult } from '../engine/request.ts'
import { BusyError, cancelled, RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { log } from '../observe/log.ts'
import { type Deadline, startDeadline } from '../remote/deadline.ts'
import { jsonBytes, readJsonOf, type Store } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'

export interface Idempotency {
  /**
   * The reply of the first ask with this key, or else of `work`.
   * @param key who asks, where, and the key that was sent
   * @param payloadHash tells asks apart: another one with the same key is refused
   * @throws RequestError `key_taken`; BusyError `deadline` when the first still runs then, `cancelled` when `signal` is aborted
   */
  run(
    key: string,
    payloadHash: string,
    within: RunOptions,
    work: (waitedMs: number) => Promise<InferenceResult>,
  ): Promise<IdempotentResult>
}

interface RunOptions {
  signal: AbortSignal
  /** Absent: as long as the first takes. */
  deadlineMs?: number
}

export interface IdempotentResult {
  reply: InferenceResult
  /** It was not made for this request. */
  isReplay: boolean
}

interface IdempotencyRecord {
  body: string
  /** Absent while it is under way. */
  reply?: InferenceResult
}

const RECORD_TTL_MS = HOUR_MS
/** Thousands of captions, some dozen of the longest answers. */
const MAX_RECORD_CHARACTERS = 8 * 1024 * 1024
/** A process that dies leaves its key under way for so long at most; one that lives renews it three times meanwhile. */
const LEASE_MS = 10_000
const LOOK_EVERY_MS = 250

const KEY = /^[\x21-\x7e]{1,200}$/
const recordSchema = z.object({
  body: z.string(),
  reply: z.custom<InferenceResult>().optional(),
  /** Milliseconds since 1970: after it the one who works on it is dead. */
  until: z.number().default(0),
})

/** The key that was sent, if one was. @throws RequestError `bad_field` */
export function keyOf(headers: Headers): string | undefined {
  const key = headers.get('idempotency-key')
  if (key === null || KEY.test(key)) return key ?? undefined
  throw new RequestError(
    'bad_field',
    'Expected Idempotency-Key to be 1 to 200 visible ASCII characters, such as a UUID, but got something else.',
  )
}

/**
 * Without a store what was answered is known in this process only, and so it is, with a line in the log, while `open`
 * fails. It is called when the first key comes.
 */
export function openIdempotency(open?: () => Promise<Store>, now: () => number = Date.now): Idempotency {
  const mutex = keyedMutex()
  const localCache = new LRUCache<string, IdempotencyRecord>({
    maxSize: MAX_RECORD_CHARACTERS,
    sizeCalculation: (record) => JSON.stringify(record).length,
    ttl: RECORD_TTL_MS,
  })
  let store: Store | undefined
  let sweptAt = 0
  const shared = async () => {
    store ??= await open?.().catch((error: unknown) => void log.warn('keys_not_shared', error))
    if (store && now() - sweptAt > RECORD_TTL_MS) {
      sweptAt = now()
      void store.sweep().catch((error: unknown) => log.warn('sweep_failed', error))
    }
    return store
  }

  return {
    async run(key, payloadHash, { signal, deadlineMs = Number.POSITIVE_INFINITY }, work) {
      if (signal.aborted) throw tooLong(signal)
      const begun = performance.now()
      const limit = startDeadline(deadlineMs, signal)
      const over = new Promise<never>((_, reject) => {
        limit.signal.addEventListener('abort', () => reject(tooLong(signal)))
      })
      const begin = () => {
        if (limit.signal.aborted) throw tooLong(signal)
        // From here on the work has its own.
        limit.end()
        return work(performance.now() - begun)
      }
      const mine = mutex.run([key], async () => {
        const known = localCache.get(key)
        if (known?.reply) return replay(known, payloadHash)
        const among = await shared()
        const outcome = among
          ? await runAcrossProcesses(among, now, storeKeyOf(key), payloadHash, limit, begin)
          : { reply: await begin(), isReplay: false }
        localCache.set(key, { body: payloadHash, reply: outcome.reply })
        return outcome
      })
      return await Promise.race([mine, over]).finally(limit.end)
    },
  }
}

async function runAcrossProcesses(
  store: Store,
  now: () => number,
  storeKey: string,
  payloadHash: string,
  limit: Deadline,
  work: () => Promise<InferenceResult>,
): Promise<IdempotentResult> {
  const owner = randomUUID()
  const lease = () => jsonBytes({ body: payloadHash, owner, until: now() + LEASE_MS })
  let version = await store.create(storeKey, lease(), RECORD_TTL_MS)
  while (version === undefined) {
    const found = await readJsonOf(store, storeKey, (value) => recordSchema.parse(value))
    const isDead = found && !found.value.reply && found.value.until <= now()
    if (isDead) version = await store.replace(storeKey, lease(), RECORD_TTL_MS, found.version)
    else if (!found) version = await store.create(storeKey, lease(), RECORD_TTL_MS)
    else if (found.value.reply || found.value.body !== payloadHash) return replay(found.value, payloadHash)
    if (version !== undefined) break
    await limit.wait(LOOK_EVERY_MS)
    limit.throwIfEnded()
  }

  /** One after another; undefined once another process took over. */
  let held = Promise.resolve<string | undefined>(version)
  const put = (bytes: () => Uint8Array) => {
    held = held.then(async (mine) => {
      if (mine === undefined) return undefined
      return await store.replace(storeKey, bytes(), RECORD_TTL_MS, mine).catch((error: unknown) => {
        log.warn('key_not_held', error)
        return mine
      })
    })
    return held
  }
  const renewing = setInterval(put, LEASE_MS / 3, lease)
  try {
    const reply = await work()
    clearInterval(renewing)
    // The answer is there, whether or not it can be kept.
    await put(() => jsonBytes({ body: payloadHash, reply }))
    return { reply, isReplay: false }
  } catch (error) {
    clearInterval(renewing)
    // What failed is free for the next one at once; where that cannot be written, when the lease ends.
    if ((await held) !== undefined)
      await store.remove(storeKey).catch((cause: unknown) => log.warn('key_not_freed', cause))
    throw error
  }
}

function replay({ body, reply }: IdempotencyRecord, payloadHash: string): IdempotentResult {
  if (body === payloadHash && reply) return { reply, isReplay: true }
  throw new RequestError(
    'key_taken',
    'Expected a new Idempotency-Key for a new ask but this one was sent with another picture, question or setting.',
  )
}

/** Whatever was sent as a key, its place in the store is a name like any other. */
function storeKeyOf(key: string): string {
  return `idempotency/${sha256Hex(key)}`
}

function tooLong(signal: AbortSignal): BusyError {
  if (signal.aborted)
    return cancelled('The request was cancelled while another one with the same Idempotency-Key ran.')
  return new BusyError(
    'deadline',
    'Expected an answer in time but another ask with this Idempotency-Key still runs. Send it again with the same key.',
  )
}
