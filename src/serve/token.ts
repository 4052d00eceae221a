// Whether whoever asks knows the token that the operator set (RFC 6750).

import { createHash, timingSafeEqual } from 'node:crypto'
import { RequestError, SetupError } from '../errors.ts'

export interface BearerAuth {
  /** Whether there is a token to know. */
  isSet: boolean
  /** @throws RequestError `no_token`, `bad_token`; SetupError `no_api_token` where one is needed and none is set */
  check(headers: Headers): void
}

/** Said with every 401 (RFC 9110, section 11.6.1). */
export const CHALLENGE = 'Bearer realm="glimpse"'

/** @param isNeeded nothing is open without a token, so that a forgotten setting lets nobody in. */
export function bearerAuth(token: string | undefined, isNeeded = false): BearerAuth {
  if (!token) {
    return {
      isSet: false,
      check() {
        if (!isNeeded) return
        throw new SetupError(
          'no_api_token',
          'Expected the setting GLIMPSE_API_TOKEN, because anybody can reach this address, but it is missing. Nothing is answered until the operator sets it.',
        )
      },
    }
  }
  const expected = digestOf(token)
  return {
    isSet: true,
    check(headers) {
      const [, sent] = /^Bearer +(.+)$/i.exec(headers.get('authorization') ?? '') ?? []
      if (sent === undefined) {
        throw new RequestError(
          'no_token',
          'Expected the header Authorization: Bearer with the token of this server but got none. Ask its operator for it.',
        )
      }
      // Digests have one length, and comparing them tells nothing by its time.
      if (!timingSafeEqual(digestOf(sent), expected)) {
        throw new RequestError(
          'bad_token',
          'Expected the token of this server but got another. Ask its operator.',
        )
      }
    },
  }
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
