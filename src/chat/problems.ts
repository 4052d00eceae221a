// An error -> the sentence that the asker reads, in their language.

import { BusyError, codeOf, isGlimpseError } from '../errors.ts'
import { fromNow, type Messages, type Problems } from '../i18n/messages.ts'
import { MAX_PICTURE_BYTES, MAX_PIXELS } from '../image/format.ts'
import type { ChatReply } from './compose.ts'

/** A question that is refused before it reaches the engine. */
export class Refusal extends Error {
  readonly code: 'no_picture' | 'unseen' | 'busy' | 'opted_out' | 'limit'
  /** For `busy`, the number of requests ahead; for `limit`, the milliseconds until it ends. */
  readonly amount: number

  constructor(code: Refusal['code'], amount = 0) {
    super(code)
    this.code = code
    this.amount = amount
  }
}

/** Error codes that have another code's sentence. */
const SENTENCES: Partial<Record<string, keyof Problems>> = {
  cancelled: 'deadline',
  loading: 'restarting',
  stopping: 'restarting',
}

/** Codes without a sentence in i18n/ read as `internal`. */
export function problemText(error: unknown, messages: Messages): string {
  const { problem } = messages
  if (error instanceof Refusal) {
    if (error.code === 'busy') return problem.busy(error.amount)
    if (error.code === 'limit') return problem.limit(fromNow(messages, error.amount))
    return problem[error.code]
  }
  const code = codeOf(error)
  if (code === 'picture_too_large') {
    // The decoder has two limits under one code. Its message names the unit (image/decode.ts).
    const isPixels = error instanceof Error && error.message.includes('pixels')
    if (isPixels) return problem.too_many_pixels(MAX_PIXELS / 1_000_000)
    return problem.picture_too_large(MAX_PICTURE_BYTES / (1024 * 1024))
  }
  const text = problem[SENTENCES[code] ?? (code as keyof Problems)]
  return typeof text === 'string' ? text : problem.internal
}

/**
 * Of an error that is not the asker's own: that error, as the operator's log and metrics show it. The asker's own are refusals
 * by a limit or for want of a picture, and requests that have a sentence in i18n/.
 */
export function faultOf(error: unknown, { problem }: Messages): unknown {
  if (error instanceof Refusal) {
    if (error.code !== 'busy') return undefined
    return new BusyError('busy', `Expected a free place for a question but ${error.amount} are ahead of it.`)
  }
  if (!isGlimpseError(error) || error.kind !== 'request') return error
  return error.code in problem || SENTENCES[error.code] ? undefined : error
}

/** The reply to a question that could not be answered. */
export function problemReply(error: unknown, messages: Messages): ChatReply {
  const text = problemText(error, messages)
  return { parts: [{ text, kind: 'problem', spoiler: false }], notes: [], ephemeral: true, messages }
}
