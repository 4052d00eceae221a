// One delivery of a message, however it came: checked, part of its sender's trace, worked on, counted.

import type { QuestionProcessor } from '../chat/processor.ts'
import { isGlimpseError } from '../errors.ts'
import { withIds } from '../observe/context.ts'
import { count } from '../observe/metrics.ts'
import { type Carrier, withSpan } from '../observe/trace.ts'
import { MAX_RECEIVES, type Message, type MessageHandler, messageName, parseBody } from './queue.ts'

export interface Delivery {
  body: string
  /** The sender's trace. */
  carrier: Carrier
  /** How often it was delivered, this time included. */
  receives: number
}

/** `again`: to be delivered once more. `poison`: it was often enough, or it would help never. */
export type DeliveryOutcome = 'done' | 'again' | 'poison'

/** Never throws: `report` is told what went wrong, without a word of the message. */
export async function handleDelivery(
  { body, carrier, receives }: Delivery,
  handler: MessageHandler,
  report: (error: unknown) => void,
): Promise<DeliveryOutcome> {
  const failed = (error: unknown): DeliveryOutcome => {
    report(error)
    const isLast = receives >= MAX_RECEIVES && !(isGlimpseError(error) && error.code === 'stopping')
    return isLast || (isGlimpseError(error) && error.code === 'bad_message') ? 'poison' : 'again'
  }
  const outcome = await parsed(body).then(async (message): Promise<DeliveryOutcome> => {
    const ids = { job_id: messageName(message) }
    return await withIds(ids, async () => {
      try {
        await withSpan('answer', carrier, () => handler(message), 'CONSUMER')
        return 'done'
      } catch (error) {
        return failed(error)
      }
    })
  }, failed)
  count('glimpse_queue_messages_total', { outcome })
  return outcome
}

async function parsed(body: string): Promise<Message> {
  return parseBody(body)
}

/** What a consumer does with a message: answers the question, or retracts it. */
export function questionHandler(processor: Pick<QuestionProcessor, 'process' | 'retract'>): MessageHandler {
  return (message) =>
    message.kind === 'question' ? processor.process(message.question) : processor.retract(message.id)
}
