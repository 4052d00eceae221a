// GLIMPSE_QUEUE, the address of a FIFO queue in SQS -> that queue.

import { loadPart, SQS_PACKAGES } from '../optional-part.ts'
import type { Queue } from './queue.ts'

/** Sends nothing yet. @throws SetupError `bad_queue` for an address that is not one of a FIFO queue */
export async function openQueue(location: string): Promise<Queue> {
  // Loaded here: the SDK is optional and takes a while, and most processes use no queue.
  const { sqsQueue } = await loadPart('GLIMPSE_QUEUE', SQS_PACKAGES, () => import('./sqs.ts'))
  return sqsQueue(location)
}
