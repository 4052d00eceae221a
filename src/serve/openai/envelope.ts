// An error -> `{error: {message, type, param, code}}`, as clients of OpenAI's API read it. Statuses are those of errors.ts.

import { httpMeaningOf } from '../../errors.ts'
import { problemOf } from '../problem.ts'

/** Names of OpenAI's error types by HTTP status. */
const TYPES: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
}

/** Routes of OpenAI's API. */
export function isOpenAiPath(path: string): boolean {
  return (
    path.startsWith('/v1/chat/') ||
    path === '/v1/embeddings' ||
    path === '/v1/models' ||
    path.startsWith('/v1/models/')
  )
}

export function envelopeOf(error: unknown) {
  const { code, message, request_id } = problemOf(error).error
  const { status } = httpMeaningOf(error)
  const type = TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error')
  return { error: { message, type, param: null, code, request_id } }
}
