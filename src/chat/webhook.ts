// Counts the requests to a platform's webhook by outcome.

import { count } from '../observe/metrics.ts'

const OUTCOMES: Record<number, string> = {
  400: 'bad_body',
  401: 'bad_signature',
  404: 'unheard',
  413: 'too_large',
  500: 'failed',
  503: 'late',
}

/** Returns the same handler, counted in `glimpse_webhooks_total`. */
export function countedWebhook(
  platform: string,
  handle: (request: Request) => Promise<Response>,
): (request: Request) => Promise<Response> {
  return async (request) => {
    const response = await handle(request)
    const outcome = response.ok ? 'accepted' : (OUTCOMES[response.status] ?? 'failed')
    count('glimpse_webhooks_total', { platform, outcome })
    if (outcome === 'bad_signature') count('glimpse_rejected_total', { reason: outcome })
    return response
  }
}
