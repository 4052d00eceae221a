// An error as an HTTP response: `{error: {code, message, retry, request_id}}`. errors.ts has its status.

import { httpMeaningOf, isGlimpseError } from '../errors.ts'
import { currentIds } from '../observe/log.ts'
import { CHALLENGE } from './token.ts'

export interface Problem {
  /** `request_id` finds the request in the log. */
  error: { code: string; message: string; retry: boolean; request_id?: string }
}

/** The message of a Glimpse error; nothing about any other error. */
export function problemOf(error: unknown): Problem {
  const { request_id } = currentIds()
  if (!isGlimpseError(error)) {
    const message = 'Glimpse failed unexpectedly. The log of the server has the reason.'
    return { error: { code: 'internal', message, retry: false, request_id } }
  }
  const { code, message } = error
  return { error: { code, message, retry: httpMeaningOf(error).retry, request_id } }
}

/**
 * @param body the error as the client of this route reads it
 * @param retryAfterS value of `Retry-After`, sent when the same request may succeed later
 */
export function problemResponse(
  error: unknown,
  body: unknown,
  retryAfterS: number,
  headers?: HeadersInit,
): Response {
  const { status, retry } = httpMeaningOf(error)
  const response = Response.json(body, { status, headers })
  if (status === 401) response.headers.set('www-authenticate', CHALLENGE)
  // The rest of the body is not read.
  if (status === 408) response.headers.set('connection', 'close')
  if (retry) response.headers.set('retry-after', String(retryAfterS))
  return response
}
