// A message of the queue -> the desk.

import type { Desk } from '../chat/desk.ts'
import { hashed } from '../chat/jobs.ts'
import { withIds } from '../observe/context.ts'
import type { Work } from './queue.ts'

/** Names a job in the log without telling what platform, channel or message it is. */
const NAME_LENGTH = 16

export function answering(desk: Pick<Desk, 'settle' | 'withdraw'>): Work {
  return async (message) => {
    const id = message.kind === 'question' ? message.question.id : message.id
    await withIds({ job_id: hashed(id).slice(0, NAME_LENGTH) }, () =>
      message.kind === 'question' ? desk.settle(message.question) : desk.withdraw(id),
    )
  }
}
