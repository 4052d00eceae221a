// The time that a request waits in queues is added to its timings.

import { expect, test } from 'vitest'
import { withQueueTime } from '../../src/engine/timings.ts'

test('time spent in one queue after another adds up, in the total as well', () => {
  const timings = { queue: 0, image: 3, pixels: 5, vision: 140, queries: 22, tokens: 61, total: 231 }
  const both = withQueueTime(withQueueTime(timings, 7.254), 100)
  expect(both).toEqual({ ...timings, queue: 107.25, total: 338.25 })
})
