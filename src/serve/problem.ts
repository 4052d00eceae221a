// An error as an HTTP response: `{error: {code, message, retry}}`. What went wrong is in errors.ts;
// only what exists nowhere but in HTTP (an address, a method, a content type) has its status here.

import { consequenceOf, isKnown } from '../errors.ts'

const HTTP_ONLY: Record<string, number> = {
  not_found: 404,
  wrong_method: 405,
  foreign_host: 403,
  foreign_origin: 403,
  wrong_type: 415,
  no_uploads: 404,
  upload_missing: 404,
  upload_expired: 410,
}

export interface Problem {
  error: { code: string; message: string; retry: boolean }
}

/** What may be said outside: a known error's own words, nothing about any other. */
export function problemOf(error: unknown): Problem {
  if (!isKnown(error)) {
    const message = 'Glimpse failed in a way it did not expect. The reason is in its log.'
    return { error: { code: 'internal', message, retry: false } }
  }
  return { error: { code: error.code, message: error.message, retry: consequenceOf(error).retry } }
}

/** @param retryAfterS said in `Retry-After` when the same request may succeed later. */
export function problemResponse(error: unknown, retryAfterS: number, headers?: HeadersInit): Response {
  const { status, retry } = consequenceOf(error)
  const response = Response.json(problemOf(error), {
    status: (isKnown(error) && HTTP_ONLY[error.code]) || status,
    headers,
  })
  if (retry) response.headers.set('retry-after', String(retryAfterS))
  return response
}
