// One delivery of a message -> its outcome: parsed, handled inside the sender's trace, counted. The same for SQS and Lambda.

import type { QuestionProcessor } from '../chat/processor.ts'
import { isGlimpseError } from '../errors.ts'
import { withIds } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { type Carrier, withSpan } from '../observe/trace.ts'
import { MAX_RECEIVES, type MessageHandler, messageName, parseBody } from './queue.ts'

export interface Delivery {
  body: string
  /** The sender's trace context. */
  carrier: Carrier
  /** Deliveries so far, this one included. */
  receives: number
  /** When the process that handles it ends by itself, in milliseconds since 1970. */
  endsAt?: number
}

/**
 * `again`: to be delivered once more. `waiting`: the same, when the engine has answered. `poison`: for the dead-letter queue,
 * after MAX_RECEIVES or because it is invalid.
 */
export type DeliveryOutcome = 'done' | 'again' | 'waiting' | 'poison'

/** Never throws. @param report called with the error, which holds no text of the message */
export async function handleDelivery(
  { body, carrier, receives, endsAt }: Delivery,
  handler: MessageHandler,
  report: (error: unknown) => void,
): Promise<DeliveryOutcome> {
  const failed = (error: unknown): DeliveryOutcome => {
    if (isGlimpseError(error) && error.code === 'waiting') return 'waiting'
    report(error)
    const isLast = receives >= MAX_RECEIVES && !(isGlimpseError(error) && error.code === 'stopping')
    return isLast || (isGlimpseError(error) && error.code === 'bad_message') ? 'poison' : 'again'
  }
  const handle = async (): Promise<DeliveryOutcome> => {
    const message = parseBody(body)
    return await withIds({ job_id: messageName(message) }, () =>
      withSpan('answer', carrier, () => handler(message, endsAt), 'CONSUMER').then(
        () => 'done' as const,
        failed,
      ),
    )
  }
  const outcome = await handle().catch(failed)
  count('glimpse_queue_messages_total', { outcome })
  return outcome
}

/** Answers a question, or retracts it. */
export function questionHandler(processor: Pick<QuestionProcessor, 'process' | 'retract'>): MessageHandler {
  return (message, endsAt) =>
    message.kind === 'question'
      ? processor.process(message.question, endsAt)
      : processor.retract(message.id, message.filesLeft)
}
