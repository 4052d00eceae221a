// Bearer token (RFC 6750): the Authorization header passes, or the request ends with 401.
//
// hono's bearerAuth refuses tokens with characters outside of RFC 6750, section 2.1; operators may set any token.

import { timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { RequestError, SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'

/** Header of every 401 (RFC 9110, section 11.6.1). */
export const CHALLENGE = 'Bearer realm="glimpse"'

/**
 * Ends a request with RequestError `no_token` or `bad_token`, or SetupError `no_api_token`.
 * @param token undefined or empty: all requests pass, or none if a token is required
 */
export function tokenCheck(token: string | undefined, isRequired = false): MiddlewareHandler {
  return async (c, next) => {
    if (token) {
      const [, sent] = /^Bearer +(.+)$/i.exec(c.req.header('authorization') ?? '') ?? []
      if (sent === undefined) {
        const message =
          'Expected the header Authorization: Bearer with the token of this server but got none. Ask its operator for it.'
        throw new RequestError('no_token', message)
      }
      // Digests have equal lengths, which timingSafeEqual requires.
      if (!timingSafeEqual(Buffer.from(sha256Hex(sent)), Buffer.from(sha256Hex(token)))) {
        const message = 'Expected the token of this server but got another. Ask its operator.'
        throw new RequestError('bad_token', message)
      }
    } else if (isRequired) {
      const message =
        'GLIMPSE_API_TOKEN is not set, and this address is public. All requests are refused until the operator sets it.'
      throw new SetupError('no_api_token', message)
    }
    await next()
  }
}
