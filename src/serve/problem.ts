// An error as an HTTP response: `{error: {code, message, retry, request_id}}`. What went wrong is in errors.ts;
// only what exists nowhere but in HTTP (an address, a method, a content type) has its status here.

import { consequenceOf, isKnown } from '../errors.ts'
import { currentIds } from '../observe/context.ts'
import { CHALLENGE } from './token.ts'

const HTTP_ONLY: Record<string, number> = {
  not_found: 404,
  wrong_method: 405,
  foreign_host: 403,
  foreign_origin: 403,
  wrong_type: 415,
  no_token: 401,
  bad_token: 401,
  too_slow: 408,
  key_taken: 422,
  no_uploads: 404,
  upload_missing: 404,
  upload_expired: 410,
}

export interface Problem {
  /** By `request_id` the operator finds it in the log. */
  error: { code: string; message: string; retry: boolean; request_id?: string }
}

/** What may be said outside: a known error's own words, nothing about any other. */
export function problemOf(error: unknown): Problem {
  const { request_id } = currentIds()
  if (!isKnown(error)) {
    const message = 'Glimpse failed in a way it did not expect. The reason is in its log.'
    return { error: { code: 'internal', message, retry: false, request_id } }
  }
  const { code, message } = error
  return { error: { code, message, retry: consequenceOf(error).retry, request_id } }
}

/** @param retryAfterS said in `Retry-After` when the same request may succeed later. */
export function problemResponse(error: unknown, retryAfterS: number, headers?: HeadersInit): Response {
  const { retry } = consequenceOf(error)
  const status = statusOf(error)
  const response = Response.json(problemOf(error), { status, headers })
  if (status === 401) response.headers.set('www-authenticate', CHALLENGE)
  // The rest of the body is not waited for.
  if (status === 408) response.headers.set('connection', 'close')
  if (retry) response.headers.set('retry-after', String(retryAfterS))
  return response
}

export function statusOf(error: unknown): number {
  return (isKnown(error) && HTTP_ONLY[error.code]) || consequenceOf(error).status
}
