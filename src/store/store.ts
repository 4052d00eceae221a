// Values of up to some hundred KiB by key, which outlive the process: jobs, conversations, preferences, image embeddings,
// answers by Idempotency-Key.
//
// Two processes may write at once (a redelivered event): `create` has one winner, and `replace` fails when the value is not
// the version that was read. These are S3's conditional writes (PutObject with If-None-Match: * and If-Match); the store in a
// folder behaves the same.

import { UpstreamError } from '../errors.ts'

export interface Stored {
  bytes: Uint8Array
  /** Identifies this value, for `replace`. */
  version: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

export interface Store {
  /** Undefined when there is no value or it has expired. */
  read(key: string): Promise<Stored | undefined>
  /** The new version; undefined when the key has a value. */
  create(key: string, bytes: Uint8Array, ttlMs: number): Promise<string | undefined>
  /** The new version; undefined when the value has another version than `version`, if that is given. */
  replace(key: string, bytes: Uint8Array, ttlMs: number, version?: string): Promise<string | undefined>
  remove(key: string): Promise<void>
  /** Keys with this prefix, in no order. `jobs/` gives the keys in that folder. */
  list(prefix: string): Promise<string[]>
  /** Removes expired values. */
  sweep(): Promise<void>
}

/** A key can be the name of a file and of an object. */
const KEY = /^[a-z0-9_-]+(\/[A-Za-z0-9_-]+)+$/

export function checkKey(key: string): string {
  if (KEY.test(key)) return key
  throw new Error(`Expected a key like jobs/0a1b but got ${JSON.stringify(key)}.`)
}

/** Reads a JSON value. @throws SyntaxError when it is not JSON, and what `parse` throws */
export async function readJsonOf<T>(
  store: Pick<Store, 'read'>,
  key: string,
  parse: (value: unknown) => T,
): Promise<{ value: T; version: string } | undefined> {
  const stored = await store.read(key)
  if (!stored) return undefined
  return { value: parse(JSON.parse(new TextDecoder().decode(stored.bytes))), version: stored.version }
}

/** In milliseconds. */
export interface Time {
  now: () => number
  sleep: (ms: number) => Promise<unknown>
}

const CHANGE_MS = 30_000
const WAIT_MS = { first: 10, most: 1_000 }

/**
 * Replaces a JSON value by `next(value)`; undefined writes nothing. Repeats that when another process wrote in between, after
 * a growing, random wait: so `next` may run several times, and may get its own result.
 * @throws UpstreamError `state_contended` after 30 s of conflicts
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
      const message = `Expected to change ${key} but other processes changed it without a pause for ${CHANGE_MS / 1000} s. Try again.`
      throw new UpstreamError('state_contended', message)
    }
    await time.sleep(waitMs * Math.random())
  }
}

export function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}
