// Image embeddings are kept for as long as promised, in memory and in the store together.

import { expect, test } from 'vitest'
import { storedEncoderCache } from '../../src/engine/encoder-cache.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { manifestOf } from '../transfer/model.ts'

const HOUR_MS = 3_600_000
const PREFIX = Float32Array.of(1, 2, 3)
const manifest = manifestOf(new Map(), 'small')

test('an embedding that is read back from the store keeps its first time of expiry, in memory too', async () => {
  const shortMs = 40
  let time = Date.now()
  const store = inMemoryStore(() => time)
  await storedEncoderCache(store, manifest, HOUR_MS, () => time).set('a', PREFIX)
  // Another process reads it back just before it expires.
  time += HOUR_MS - shortMs
  const other = storedEncoderCache(store, manifest, HOUR_MS, () => time)
  expect(await other.get('a')).toEqual(PREFIX)
  time += shortMs
  await expect.poll(() => other.get('a'), { timeout: 60_000 }).toBeUndefined()
})

test('of another model nothing is found', async () => {
  const store = inMemoryStore()
  await storedEncoderCache(store, manifest, HOUR_MS).set('a', PREFIX)
  const files = [{ path: 'vision.onnx', sizeBytes: 1, sha256: '0' }]
  expect(await storedEncoderCache(store, { ...manifest, files }, HOUR_MS).get('a')).toBeUndefined()
  expect(await storedEncoderCache(store, manifest, HOUR_MS).get('a')).toEqual(PREFIX)
})
