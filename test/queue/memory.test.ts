// The queue within the process keeps the promises of every queue.

import { describe } from 'vitest'
import { memoryQueue } from '../../src/queue/memory.ts'
import { keepsItsPromises } from './conformance.ts'

describe('within this process', () => {
  keepsItsPromises(async () => {
    const queue = memoryQueue({ againMs: 20 })
    return { queue, dead: async () => queue.dead.length }
  })
})
