// `memory` -> the queue within this process; an address -> the queue in SQS.

import { memoryQueue } from './in-memory.ts'
import type { Queue } from './queue.ts'

/** @throws SetupError `bad_queue` */
export async function openQueue(place: string): Promise<Queue> {
  if (place === 'memory') return memoryQueue()
  // Only here: the SDK takes a while to load.
  const { sqsQueue } = await import('./sqs.ts')
  return sqsQueue(place)
}
