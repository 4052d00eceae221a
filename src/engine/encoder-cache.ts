// Pictures the model has seen, as their prefixes [Q, D] by the sha256 of their bytes: in BLIP-2 they do not depend on the
// question, so the next question about a picture skips the vision tower.

import { LRUCache } from 'lru-cache'
import type { Manifest } from '../artifact/contract.ts'
import { sha256Hex } from '../hash.ts'
import type { Store } from '../store/store.ts'

/** 32 vectors, 320 KiB with opt-2.7b: the last two hundred pictures. */
export const MAX_CACHE_BYTES = 64 * 1024 * 1024

export interface EncoderCache {
  get(picture: string): Promise<Float32Array | undefined>
  set(picture: string, prefix: Float32Array): Promise<void>
}

/** As long as the process lives, and there is room. */
export function inMemoryEncoderCache(ttlMs?: number): EncoderCache {
  const prefixes = new LRUCache<string, Float32Array>({
    maxSize: MAX_CACHE_BYTES,
    sizeCalculation: (prefix) => prefix.byteLength,
    ...(ttlMs === undefined ? {} : { ttl: ttlMs }),
  })
  return {
    get: async (picture) => prefixes.get(picture),
    set: async (picture, prefix) => {
      prefixes.set(picture, prefix)
    },
  }
}

/** In the store as well, for the model with these very weights. What the store refuses is looked at again. */
export function storedEncoderCache(store: Store, { files }: Manifest, ttlMs: number): EncoderCache {
  const inMemory = inMemoryEncoderCache(ttlMs)
  const model = sha256Hex(JSON.stringify(files)).slice(0, 16)
  const keyOf = (picture: string) => `queries/${model}/${picture}`
  return {
    async get(picture) {
      const cached = await inMemory.get(picture)
      if (cached) return cached
      const stored = await store.read(keyOf(picture)).catch(() => undefined)
      if (!stored) return undefined
      const prefix = new Float32Array(stored.bytes.slice().buffer)
      await inMemory.set(picture, prefix)
      return prefix
    },
    async set(picture, prefix) {
      await inMemory.set(picture, prefix)
      const bytes = new Uint8Array(prefix.buffer, prefix.byteOffset, prefix.byteLength)
      await store.replace(keyOf(picture), bytes, ttlMs).catch(() => {})
    },
  }
}
