// A platform's HTTP request -> its body, when it is small enough and signed -> the platform's handler -> the response,
// counted by its status.

import { readBody } from '../body.ts'
import { count } from '../observe/metrics.ts'

const OUTCOMES: Record<number, string> = {
  400: 'bad_body',
  401: 'bad_signature',
  404: 'unheard',
  413: 'too_large',
  500: 'failed',
  503: 'late',
}

/**
 * The handler of a platform's requests. It answers 413 to a body over 1 MiB and 401 to a wrong signature, and counts each
 * request in `glimpse_webhooks_total`.
 */
export function signedWebhook(
  platform: string,
  isSigned: (body: Buffer, headers: Headers) => boolean,
  handle: (body: string, headers: Headers) => Promise<Response>,
): (request: Request) => Promise<Response> {
  return async (request) => {
    const { headers } = request
    const body = await readBody(request)
    const response = !body
      ? new Response(null, { status: 413 })
      : isSigned(body, headers)
        ? await handle(body.toString(), headers)
        : new Response(null, { status: 401 })
    const outcome = response.ok ? 'accepted' : (OUTCOMES[response.status] ?? 'failed')
    count('glimpse_webhooks_total', { platform, outcome })
    if (outcome === 'bad_signature') count('glimpse_rejected_total', { reason: outcome })
    return response
  }
}
