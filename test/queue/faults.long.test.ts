// Row F6: exactly one visible reply, whatever the queue, the processes and the platform do. A thousand runs, with the
// figures: npx tsx bench/queue-faults.ts

import { beforeAll, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { playAll } from './faults.ts'

const RUNS = 15

beforeAll(() => configureLog('text', { write: () => {} }))

test(`in ${RUNS} runs each question has exactly one reply, and only poison dies`, async () => {
  const sums = await playAll(RUNS)
  expect(sums).toMatchObject({ missing: 0, duplicates: 0, othersDead: 0, poisonDead: 2 * RUNS })
  // A run in which nothing goes wrong proves nothing.
  expect(sums.deaths).toBeGreaterThan(RUNS)
  expect(sums.deathsBeforeReply).toBeGreaterThan(0)
  expect(sums.deathsAfterPost).toBeGreaterThan(0)
  expect(sums.redeliveries).toBeGreaterThan(RUNS)
})

test('where a platform cannot be asked what it shows, a reply comes twice only after a death right behind it', async () => {
  const sums = await playAll(RUNS, { canFind: false })
  expect(sums.missing).toBe(0)
  // Or after an answer of the platform's that was lost: then it is tried again.
  expect(sums.duplicates).toBeGreaterThan(0)
  expect(sums.duplicates).toBeLessThanOrEqual(sums.deathsAfterPost + sums.platformFaults)
})
