// The queue that other tests use keeps the promises of every queue.

import { describe, test } from 'vitest'
import { until } from '../until.ts'
import { conformsToQueue } from './conformance.ts'
import { inMemoryQueue } from './in-memory.ts'

describe('within this process', () => {
  conformsToQueue(async () => {
    const queue = inMemoryQueue({ retryMs: 0 })
    return { queue, dead: async () => queue.deadLetters.length }
  })
})

test('the same id is known for five minutes, and then no more', async () => {
  const clock = { now: 0 }
  const queue = inMemoryQueue({ now: () => clock.now })
  const send = () => queue.send({ kind: 'withdraw', id: 'a' }, { deduplicationId: 'a', groupId: 'g' })
  let came = 0
  const consumer = queue.consume(async () => void came++)
  await send()
  clock.now = 5 * 60_000 - 1
  await send()
  clock.now += 1
  await send()
  await until(() => came === 2)
  await consumer.stop(60_000)
})
