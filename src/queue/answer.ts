// A message of the queue -> the desk.

import type { Desk } from '../chat/processor.ts'
import type { Work } from './queue.ts'

export function answering(desk: Pick<Desk, 'settle' | 'withdraw'>): Work {
  return (message) =>
    message.kind === 'question' ? desk.settle(message.question) : desk.withdraw(message.id)
}
