// `Idempotency-Key`: a request sent again, because its response was lost, gets the first response without another run.
//
//   no record -> leased (`until`; the owner renews it) -> answered (`reply`, kept for an hour)
//
// The record is in the store, so the rule holds between processes. Other processes poll the record; others in this process
// wait for the promise of the one that runs. When its lease expires, its owner has died, and one of those that poll takes
// over. A request that fails removes the record: the next one runs.

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import type { BaseResult } from '../engine/request.ts'
import { BusyError, cancelled, RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { log } from '../observe/log.ts'
import { startDeadline } from '../remote/deadline.ts'
import { jsonBytes, readJsonOf, type Store, type Stored } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'

export type Idempotency = ReturnType<typeof openIdempotency>

export interface IdempotentResult {
  reply: BaseResult
  /** The reply was made for an earlier request. */
  isReplay: boolean
}

type RecordStore = Pick<Store, 'read' | 'create' | 'replace' | 'remove'>

const RECORD_TTL_MS = HOUR_MS
/** A dead process blocks its key for at most this long; a live one renews its lease three times in it. */
const LEASE_MS = 10_000
const POLL_MS = 250
/** Thousands of captions, or some dozen of the longest answers. */
const MAX_LOCAL_BYTES = 8 * 1024 * 1024

const KEY = /^[\x21-\x7e]{1,200}$/
const KEY_TAKEN =
  'This Idempotency-Key was sent with another picture, question or setting. Send a new key with a new request.'
const recordSchema = z.object({
  /** Hash of the payload. */
  body: z.string(),
  reply: z.custom<BaseResult>().optional(),
  /** End of the lease, in ms since 1970. */
  until: z.number().default(0),
})

/** The key of a request, if it has one. @throws RequestError `bad_field` */
export function keyOf(headers: Headers): string | undefined {
  const key = headers.get('idempotency-key')
  if (key === null || KEY.test(key)) return key ?? undefined
  const message =
    'Expected Idempotency-Key to be 1 to 200 visible ASCII characters, such as a UUID, but got something else.'
  throw new RequestError('bad_field', message)
}

/**
 * @param open called at the first key. Without it, and while it fails (logged as `keys_not_shared`), records are kept in
 * this process only.
 */
export function openIdempotency(open?: () => Promise<Store>) {
  const local = localStore()
  /** What runs in this process, by key. Resolves when its record is written or removed. */
  const running = new Map<string, Promise<unknown>>()
  let shared: Store | undefined
  let sweptAt = 0
  const currentStore = async (): Promise<RecordStore> => {
    shared ??= await open?.().catch((error: unknown) => void log.warn('keys_not_shared', error))
    if (shared && Date.now() - sweptAt > RECORD_TTL_MS) {
      sweptAt = Date.now()
      void shared.sweep().catch((error: unknown) => log.warn('sweep_failed', error))
    }
    return shared ?? local
  }

  return {
    /**
     * The reply of the first request with this key, or that of `work`, which gets the ms that it waited for another.
     * @param key the tenant and the key that was sent
     * @param payloadHash of the request: another one with the same key is refused
     * @throws RequestError `key_taken`; BusyError `deadline`, `cancelled` while another request with the key runs
     */
    async run(
      key: string,
      payloadHash: string,
      { signal, deadlineMs = Number.POSITIVE_INFINITY }: { signal: AbortSignal; deadlineMs?: number },
      work: (waitedMs: number) => Promise<BaseResult>,
    ): Promise<IdempotentResult> {
      const startedAt = performance.now()
      const store = await currentStore()
      const storeKey = `idempotency/${sha256Hex(key)}`
      // The owner makes leases of two processes differ, and so their versions.
      const owner = randomUUID()
      const lease = () => jsonBytes({ body: payloadHash, owner, until: Date.now() + LEASE_MS })

      const deadline = startDeadline(deadlineMs, signal)
      const ended = once(deadline.signal, 'abort')
      let finished = () => {}
      const claim = async () => {
        let version = await store.create(storeKey, lease(), RECORD_TTL_MS)
        while (version === undefined) {
          if (deadline.signal.aborted) throw waitEnded(signal)
          const found = await readJsonOf(store, storeKey, (value) => recordSchema.parse(value))
          if (!found) version = await store.create(storeKey, lease(), RECORD_TTL_MS)
          else if (!found.value.reply && found.value.until <= Date.now())
            version = await store.replace(storeKey, lease(), RECORD_TTL_MS, found.version)
          else if (found.value.body !== payloadHash) throw new RequestError('key_taken', KEY_TAKEN)
          else if (found.value.reply) return found.value.reply
          if (version === undefined)
            await Promise.race([ended, running.get(storeKey) ?? deadline.wait(POLL_MS)])
        }
        running.set(storeKey, new Promise<void>((resolve) => (finished = resolve)))
        return version
      }
      const claimed = await claim().finally(deadline.end)
      if (typeof claimed !== 'string') return { reply: claimed, isReplay: true }
      /** One write after another. Undefined once another process has taken over. */
      let version = Promise.resolve<string | undefined>(claimed)
      const write = (bytes: () => Uint8Array) => {
        version = version.then((held) => {
          if (held === undefined) return undefined
          return store.replace(storeKey, bytes(), RECORD_TTL_MS, held).catch((error: unknown) => {
            log.warn('key_not_held', error)
            return held
          })
        })
        return version
      }
      const renewal = setInterval(write, LEASE_MS / 3, lease)
      try {
        const reply = await work(performance.now() - startedAt)
        clearInterval(renewal)
        // A failed write is logged only: this request has its reply.
        await write(() => jsonBytes({ body: payloadHash, reply }))
        return { reply, isReplay: false }
      } catch (error) {
        if ((await version) !== undefined)
          await store.remove(storeKey).catch((cause: unknown) => log.warn('key_not_freed', cause))
        throw error
      } finally {
        running.delete(storeKey)
        finished()
      }
    },
  }
}

/** The store's conditional writes, in memory of this process. */
function localStore(): RecordStore {
  const values = new LRUCache<string, Stored>({
    maxSize: MAX_LOCAL_BYTES,
    sizeCalculation: ({ bytes }) => bytes.length,
    ttl: RECORD_TTL_MS,
  })
  const write = (key: string, bytes: Uint8Array) => {
    const version = randomUUID()
    values.set(key, { bytes, version, expiresAt: Date.now() + RECORD_TTL_MS })
    return version
  }
  return {
    read: async (key) => values.get(key),
    create: async (key, bytes) => (values.has(key) ? undefined : write(key, bytes)),
    replace: async (key, bytes, _, version) =>
      values.get(key)?.version === version ? write(key, bytes) : undefined,
    remove: async (key) => void values.delete(key),
  }
}

function waitEnded(signal: AbortSignal): BusyError {
  if (signal.aborted)
    return cancelled('The request was cancelled while another one with the same Idempotency-Key ran.')
  const message =
    'Expected an answer in time but another request with this Idempotency-Key still runs. Send it again with the same key.'
  return new BusyError('deadline', message)
}
