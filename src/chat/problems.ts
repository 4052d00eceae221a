// An error of the path -> the sentence its asker reads, in their language.

import { type ErrorCode, isGlimpseError } from '../errors.ts'
import { fromNow, type Messages, type Problems } from '../i18n/messages.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'

/** Why a question is not even taken to the model. */
export class Refusal extends Error {
  readonly code: 'no_picture' | 'busy' | 'opted_out' | 'limit'
  /** For `busy` how many are ahead; for `limit` milliseconds until it ends. */
  readonly amount: number

  constructor(code: Refusal['code'], amount = 0) {
    super(code)
    this.code = code
    this.amount = amount
  }
}

export function rateLimited(waitMs: number): Refusal {
  return new Refusal('limit', waitMs)
}

/** Codes of errors.ts that are told in other words than their own. */
const MESSAGE_KEY_BY_CODE: Partial<Record<ErrorCode, keyof Problems>> = {
  not_a_picture: 'not_a_picture',
  damaged_picture: 'damaged_picture',
  picture_too_large: 'picture_too_large',
  picture_gone: 'picture_gone',
  picture_forbidden: 'picture_forbidden',
  picture_unreachable: 'picture_unreachable',
  question_too_long: 'question_too_long',
  deadline: 'deadline',
  cancelled: 'deadline',
  loading: 'restarting',
  restarting: 'restarting',
  stopping: 'restarting',
}

export function problemText(error: unknown, messages: Messages): string {
  const { problem } = messages
  if (error instanceof Refusal) {
    switch (error.code) {
      case 'busy':
        return problem.busy(error.amount)
      case 'limit':
        return problem.limit(fromNow(messages, error.amount))
      default:
        return problem[error.code]
    }
  }
  const key = (isGlimpseError(error) && MESSAGE_KEY_BY_CODE[error.code]) || 'internal'
  if (key === 'picture_too_large') return problem.picture_too_large(MAX_PICTURE_BYTES / (1024 * 1024))
  const text = problem[key]
  return typeof text === 'string' ? text : problem.internal
}
