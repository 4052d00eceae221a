// A store in memory, for tests that write a million times. Its contract is that of src/store/store.ts.

import { createRateLimiter } from '../../src/chat/rate-limit.ts'
import type { Store } from '../../src/store/store.ts'

export function inMemoryStore(now: () => number = Date.now): Store {
  const values = new Map<string, { bytes: Uint8Array; expiresAt: number; version: string }>()
  let writes = 0
  const current = (key: string) => {
    const value = values.get(key)
    return value && value.expiresAt > now() ? value : undefined
  }
  const write = (key: string, bytes: Uint8Array, ttlMs: number) => {
    const version = String(++writes)
    values.set(key, { bytes, expiresAt: now() + ttlMs, version })
    return version
  }
  return {
    read: async (key) => current(key),
    create: async (key, bytes, ttlMs) => (current(key) ? undefined : write(key, bytes, ttlMs)),
    replace: async (key, bytes, ttlMs, version) =>
      version !== undefined && current(key)?.version !== version ? undefined : write(key, bytes, ttlMs),
    remove: async (key) => {
      values.delete(key)
    },
    list: async (prefix) => [...values.keys()].filter((key) => key.startsWith(prefix) && current(key)),
    sweep: async () => {},
  }
}

/** A rate limiter that shares its counts with no other. */
export function testLimiter(limits: { perMinute: number; perHour: number }) {
  return createRateLimiter(limits, { store: inMemoryStore(), time: { now: Date.now, sleep: async () => {} } })
}
