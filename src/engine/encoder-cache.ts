// sha256 of a picture's bytes -> its image embeddings: the prefix [Q, D] that the Q-Former makes. BLIP-2's Q-Former does
// not read the question, so the next question about a picture skips vision and queries. Keys and values of the language
// model are not kept.

import { LRUCache } from 'lru-cache'
import type { Manifest } from '../artifact/contract.ts'
import { sha256Hex } from '../hash.ts'
import type { Store } from '../store/store.ts'

/** Two hundred pictures with opt-2.7b, where a prefix is 32 vectors in 320 KiB. */
export const MAX_CACHE_BYTES = 64 * 1024 * 1024

export interface EncoderCache {
  get(picture: string): Promise<Float32Array | undefined>
  set(picture: string, prefix: Float32Array): Promise<void>
}

function createLru(ttlMs = 0) {
  return new LRUCache<string, Float32Array>({
    maxSize: MAX_CACHE_BYTES,
    sizeCalculation: (prefix) => prefix.byteLength,
    ttl: ttlMs,
  })
}

/** Keeps at most MAX_CACHE_BYTES, least recently used first out, for `ttlMs` (default: no limit). */
export function inMemoryEncoderCache(ttlMs?: number): EncoderCache {
  const prefixes = createLru(ttlMs)
  return {
    get: async (picture) => prefixes.get(picture),
    set: async (picture, prefix) => {
      prefixes.set(picture, prefix)
    },
  }
}

/**
 * Keeps prefixes in the store as well, under a key that includes the model's weights, for `ttlMs` in all: one that is read
 * back keeps its first time of expiry. An error of the store counts as a miss: the picture is encoded again.
 */
export function storedEncoderCache(
  store: Store,
  { files }: Manifest,
  ttlMs: number,
  now: () => number = Date.now,
): EncoderCache {
  const inMemory = createLru(ttlMs)
  const model = sha256Hex(JSON.stringify(files)).slice(0, 16)
  const keyOf = (picture: string) => `queries/${model}/${picture}`
  return {
    async get(picture) {
      const cached = inMemory.get(picture)
      if (cached) return cached
      const stored = await store.read(keyOf(picture)).catch(() => undefined)
      if (!stored) return undefined
      const prefix = new Float32Array(stored.bytes.slice().buffer)
      inMemory.set(picture, prefix, { ttl: Math.max(1, stored.expiresAt - now()) })
      return prefix
    },
    async set(picture, prefix) {
      inMemory.set(picture, prefix)
      const bytes = new Uint8Array(prefix.buffer, prefix.byteOffset, prefix.byteLength)
      await store.replace(keyOf(picture), bytes, ttlMs).catch(() => {})
    },
  }
}
