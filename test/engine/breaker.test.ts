// How often the model process may be restarted.

import { expect, test } from 'vitest'
import { createBreaker } from '../../src/engine/breaker.ts'

const LIMITS = { restarts: 5, withinMs: 60_000, pauseMs: 60_000 }
const SECOND = 1_000

test('after five restarts within a minute there is a pause, then one try', () => {
  const breaker = createBreaker(LIMITS)
  for (let i = 0; i < 5; i++) expect(breaker.tryAcquire(i * SECOND)).toBe(true)
  expect(breaker.waitMs(5 * SECOND)).toBe(0)
  expect(breaker.tryAcquire(5 * SECOND)).toBe(false)
  expect(breaker.waitMs(15 * SECOND)).toBe(50 * SECOND)
  expect(breaker.tryAcquire(64 * SECOND)).toBe(false)
  expect(breaker.tryAcquire(65 * SECOND)).toBe(true)
})

test('after a pause, a restart that fails within a minute opens the breaker again; one that answered does not', () => {
  const afterPause = () => {
    const breaker = createBreaker(LIMITS)
    for (let i = 0; i < 6; i++) breaker.tryAcquire(0)
    expect(breaker.tryAcquire(60 * SECOND)).toBe(true)
    return breaker
  }
  const bad = afterPause()
  expect(bad.tryAcquire(62 * SECOND)).toBe(false)
  expect(bad.waitMs(62 * SECOND)).toBe(60 * SECOND)
  expect(bad.tryAcquire(122 * SECOND)).toBe(true)
  const good = afterPause()
  good.recordSuccess()
  for (let i = 0; i < 4; i++) expect(good.tryAcquire(62 * SECOND)).toBe(true)
  expect(good.tryAcquire(62 * SECOND)).toBe(false)
  // No answer, but it ran for longer than a minute.
  expect(afterPause().tryAcquire(121 * SECOND)).toBe(true)
})

test('restarts far enough apart are never refused', () => {
  const breaker = createBreaker(LIMITS)
  for (let i = 0; i < 100; i++) expect(breaker.tryAcquire(i * 13 * SECOND)).toBe(true)
})
