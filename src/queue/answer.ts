// A message of the queue -> the desk.

import type { QuestionProcessor } from '../chat/processor.ts'
import type { MessageHandler } from './queue.ts'

export function questionHandler(processor: Pick<QuestionProcessor, 'process' | 'retract'>): MessageHandler {
  return (message) =>
    message.kind === 'question' ? processor.process(message.question) : processor.retract(message.id)
}
