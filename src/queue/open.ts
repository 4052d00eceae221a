// `memory` -> the queue within this process; an address -> the queue in SQS.

import { inMemoryQueue } from './in-memory.ts'
import type { Queue } from './queue.ts'

/** @throws SetupError `bad_queue` */
export async function openQueue(location: string): Promise<Queue> {
  if (location === 'memory') return inMemoryQueue()
  // Only here: the SDK takes a while to load.
  const { sqsQueue } = await import('./sqs.ts')
  return sqsQueue(location)
}
