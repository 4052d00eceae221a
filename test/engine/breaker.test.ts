// How often the model may be started again.

import { expect, test } from 'vitest'
import { createBreaker } from '../../src/engine/breaker.ts'

const LIMITS = { restarts: 5, withinMs: 60_000, pauseMs: 60_000 }
const SECOND = 1_000

test('after five restarts within a minute there is a pause, then one try', () => {
  const fuse = createBreaker(LIMITS)
  for (let i = 0; i < 5; i++) expect(fuse.tryAcquire(i * SECOND)).toBe(true)
  expect(fuse.waitMs(5 * SECOND)).toBe(0)
  expect(fuse.tryAcquire(5 * SECOND)).toBe(false)
  expect(fuse.waitMs(15 * SECOND)).toBe(50 * SECOND)
  expect(fuse.tryAcquire(64 * SECOND)).toBe(false)
  expect(fuse.tryAcquire(65 * SECOND)).toBe(true)
})

test('a try that ends at once is another pause; one that proved good is not', () => {
  const tried = () => {
    const fuse = createBreaker(LIMITS)
    for (let i = 0; i < 6; i++) fuse.tryAcquire(0)
    expect(fuse.tryAcquire(60 * SECOND)).toBe(true)
    return fuse
  }
  const bad = tried()
  expect(bad.tryAcquire(62 * SECOND)).toBe(false)
  expect(bad.waitMs(62 * SECOND)).toBe(60 * SECOND)
  expect(bad.tryAcquire(122 * SECOND)).toBe(true)
  const good = tried()
  good.recordSuccess()
  for (let i = 0; i < 4; i++) expect(good.tryAcquire(62 * SECOND)).toBe(true)
  expect(good.tryAcquire(62 * SECOND)).toBe(false)
  // Without a word, but longer than a minute.
  expect(tried().tryAcquire(121 * SECOND)).toBe(true)
})

test('restarts far enough apart go on for ever', () => {
  const fuse = createBreaker(LIMITS)
  for (let i = 0; i < 100; i++) expect(fuse.tryAcquire(i * 13 * SECOND)).toBe(true)
})
