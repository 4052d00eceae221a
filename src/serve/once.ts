// `Idempotency-Key`: the same ask sent again, because an answer was lost on its way, is answered from memory.
//
// A key is under way or done. In one process the second waits for the first; between processes, which share a store, it
// looks there until the first is done. What failed is forgotten, and whoever waited tries itself.

import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { AskError, BusyError } from '../errors.ts'
import type { Reply } from '../job/ask.ts'
import { log } from '../observe/log.ts'
import { jsonBytes, readJsonOf, type Store } from '../store/store.ts'
import { oneAtATime } from '../turns.ts'

export interface Once {
  /**
   * The reply of the first ask with this key, or else of `work`.
   * @param key who asks, where, and the key that was sent
   * @param body tells asks apart: another one with the same key is refused
   * @throws AskError `key_taken`; BusyError `cancelled` when `signal` is aborted while another process works
   */
  run(key: string, body: string, signal: AbortSignal, work: () => Promise<Reply>): Promise<Outcome>
}

export interface Outcome {
  reply: Reply
  /** It was not made for this request. */
  isReplay: boolean
}

interface Kept {
  body: string
  /** Absent while it is under way. */
  reply?: Reply
}

const KEPT_MS = 3_600_000
/** Thousands of captions, some dozen of the longest answers. */
const KEPT_CHARACTERS = 8 * 1024 * 1024
/** A process that died leaves its key under way: so long, which is longer than an answer may take by default. */
const UNDER_WAY_MS = 180_000
const LOOK_EVERY_MS = 250

const KEY = /^[\x21-\x7e]{1,200}$/
const keptSchema = z.object({ body: z.string(), reply: z.custom<Reply>().optional() })

/** The key that was sent, if one was. @throws AskError `bad_field` */
export function keyOf(headers: Headers): string | undefined {
  const key = headers.get('idempotency-key')
  if (key === null || KEY.test(key)) return key ?? undefined
  throw new AskError(
    'bad_field',
    'Expected Idempotency-Key to be 1 to 200 visible ASCII characters, such as a UUID, but got something else.',
  )
}

/** Without a store what was answered is known in this process only. */
export function openOnce(store?: Store): Once {
  const inTurn = oneAtATime()
  const near = new LRUCache<string, Kept>({
    maxSize: KEPT_CHARACTERS,
    sizeCalculation: (kept) => JSON.stringify(kept).length,
    ttl: KEPT_MS,
  })

  return {
    run: (key, body, signal, work) =>
      inTurn([key], async () => {
        const known = near.get(key)
        if (known?.reply) return replay(known, body)
        if (signal.aborted) throw cancelled()
        const outcome = store
          ? await across(store, placeOf(key), body, signal, work)
          : { reply: await work(), isReplay: false }
        near.set(key, { body, reply: outcome.reply })
        return outcome
      }),
  }
}

async function across(
  store: Store,
  place: string,
  body: string,
  signal: AbortSignal,
  work: () => Promise<Reply>,
): Promise<Outcome> {
  for (;;) {
    if (await store.create(place, jsonBytes({ body }), UNDER_WAY_MS)) break
    const found = await readJsonOf(store, place, (value) => keptSchema.parse(value))
    if (found?.value.reply || (found && found.value.body !== body)) return replay(found.value, body)
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
    if (signal.aborted) throw cancelled()
  }
  const reply = await work().catch(async (error: unknown) => {
    await store.remove(place)
    throw error
  })
  // The answer is there, whether or not it can be kept.
  await store
    .replace(place, jsonBytes({ body, reply }), KEPT_MS)
    .catch((error: unknown) => log.warn('answer_not_kept', error))
  return { reply, isReplay: false }
}

function replay({ body, reply }: Kept, asked: string): Outcome {
  if (body === asked && reply) return { reply, isReplay: true }
  throw new AskError(
    'key_taken',
    'Expected a new Idempotency-Key for a new ask but this one was sent with another picture, question or setting.',
  )
}

/** Whatever was sent as a key, its place in the store is a name like any other. */
function placeOf(key: string): string {
  return `idempotency/${createHash('sha256').update(key).digest('hex')}`
}

function cancelled(): BusyError {
  return new BusyError('cancelled', 'The ask was cancelled while another with its Idempotency-Key ran.')
}
