// Small values by key, kept longer than the process: which questions are taken, and what a thread is about.
//
// Two writers may meet (a redelivered event, a second process): `create` has one winner, and `replace` loses when the
// value is no longer the one that was read. These are S3's conditional writes (PutObject with If-None-Match: * and
// If-Match), so that disk and bucket behave alike.

import { UpstreamError } from '../errors.ts'

export interface Stored {
  bytes: Uint8Array
  /** Names this very value. */
  version: string
}

export interface Store {
  /** Undefined when there is none, or when its time is over. */
  read(key: string): Promise<Stored | undefined>
  /** The new version; undefined when the key has a value already. */
  create(key: string, bytes: Uint8Array, ttlMs: number): Promise<string | undefined>
  /** The new version; undefined when the value is no longer `version`. Without `version` whatever is there. */
  replace(key: string, bytes: Uint8Array, ttlMs: number, version?: string): Promise<string | undefined>
  remove(key: string): Promise<void>
  /** Keys that begin so, in no order: `jobs/` gives those right below it. */
  list(prefix: string): Promise<string[]>
  /** Removes what is past its time. */
  sweep(): Promise<void>
}

/** A key is a path of such names: it can become a file's or an object's name as it is. */
const KEY = /^[a-z0-9_-]+(\/[A-Za-z0-9_-]+)+$/

export function checkKey(key: string): string {
  if (KEY.test(key)) return key
  throw new Error(`Expected a key like jobs/0a1b but got ${JSON.stringify(key)}.`)
}

/** A value that is JSON. Throws SyntaxError for one that is not. */
export async function readJsonOf<T>(
  store: Pick<Store, 'read'>,
  key: string,
  parse: (value: unknown) => T,
): Promise<{ value: T; version: string } | undefined> {
  const stored = await store.read(key)
  if (!stored) return undefined
  return { value: parse(JSON.parse(new TextDecoder().decode(stored.bytes))), version: stored.version }
}

/** In milliseconds; tests give another. */
export interface Time {
  now: () => number
  sleep: (ms: number) => Promise<unknown>
}

const CHANGE_MS = 30_000
const WAIT_MS = { first: 10, most: 1_000 }

/**
 * Writes what `next` makes of a JSON value, again until no other write came between reading and writing. `next` may run
 * several times, also on what it made itself; undefined writes nothing. Each conflict means that another write succeeded,
 * so waits grow and differ: after 30 s it throws UpstreamError `state_contended`.
 */
export async function updateJson<T>(
  store: Store,
  key: string,
  parse: (value: unknown) => T,
  ttlMs: number,
  next: (before: T | undefined) => T | undefined,
  time: Time,
): Promise<void> {
  const endsAt = time.now() + CHANGE_MS
  for (let waitMs = WAIT_MS.first; ; waitMs = Math.min(WAIT_MS.most, 2 * waitMs)) {
    const found = await readJsonOf(store, key, parse)
    const wanted = next(found?.value)
    if (wanted === undefined) return
    const bytes = jsonBytes(wanted)
    const done = found
      ? await store.replace(key, bytes, ttlMs, found.version)
      : await store.create(key, bytes, ttlMs)
    if (done !== undefined) return
    if (time.now() >= endsAt) {
      throw new UpstreamError(
        'state_contended',
        `Expected to change ${key} but others changed it without a pause for ${CHANGE_MS / 1000} s. Try again.`,
      )
    }
    await time.sleep(waitMs * Math.random())
  }
}

export function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}
