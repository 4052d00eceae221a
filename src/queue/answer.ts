// A message of the queue -> the desk.

import type { QuestionProcessor } from '../chat/processor.ts'
import type { Work } from './queue.ts'

export function answering(desk: Pick<QuestionProcessor, 'process' | 'retract'>): Work {
  return (message) =>
    message.kind === 'question' ? desk.process(message.question) : desk.retract(message.id)
}
