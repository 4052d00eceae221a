// queue-faults: exactly one visible reply under faults of the queue, the processes and the platform. For a thousand runs with
// figures: npx tsx bench/queue-faults.ts

import { beforeAll, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { playAll } from './faults.ts'

const RUNS = 15

beforeAll(() => configureLog('text', { write: () => {} }))

test(`in ${RUNS} runs each question has exactly one reply, and only poison is in the dead-letter queue`, async () => {
  const sums = await playAll(RUNS)
  expect(sums).toMatchObject({ missing: 0, duplicates: 0, othersDead: 0, poisonDead: 2 * RUNS })
  // The runs prove something only if faults occurred.
  expect(sums.deaths).toBeGreaterThan(RUNS)
  expect(sums.deathsBeforeReply).toBeGreaterThan(0)
  expect(sums.deathsAfterPost).toBeGreaterThan(0)
  expect(sums.redeliveries).toBeGreaterThan(RUNS)
})

test('on a platform that cannot list its replies, a reply is repeated only after a crash or a lost response', async () => {
  const sums = await playAll(RUNS, { canFind: false })
  expect(sums.missing).toBe(0)
  // A lost response of the platform is retried, which repeats the reply.
  expect(sums.duplicates).toBeGreaterThan(0)
  expect(sums.duplicates).toBeLessThanOrEqual(sums.deathsAfterPost + sums.platformFaults)
})
