// Requests to a Hugging Face hub: path -> response with a 2xx status, or an error that says what to do.
//
// Failures that may pass are thrown as TransientError, for `retry`. The access token reaches the hub only: fetch drops
// it when a redirect leads to another host.

import { RequestError, SetupError, UpstreamError } from '../errors.ts'
import { discard, type RetryOptions, retryAfterMs, TransientError, withStallTimeout } from '../retry.ts'

export interface Hub extends RetryOptions {
  /** `https://huggingface.co`, or a mirror with the same interface. */
  endpoint: string
  token?: string
}

const MAX_REDIRECTS = 5

/**
 * `to` is a path on the hub, or a URL. `what` names the content in errors.
 * @throws RequestError, SetupError, UpstreamError `bad_answer`, also for a redirect from https to http
 */
export async function request(
  hub: Hub,
  to: string | URL,
  what: string,
  init: { method?: 'HEAD'; redirect?: 'manual'; headers?: Record<string, string> } = {},
): Promise<Response> {
  const url = typeof to === 'string' ? urlOf(hub, to) : to
  const authorization = hub.token && { authorization: `Bearer ${hub.token}` }
  const headers = { 'accept-encoding': 'identity', ...authorization, ...init.headers }
  const response = await withStallTimeout(hub, fetch(url, { ...init, headers, signal: hub.signal }))
  if (url.protocol === 'https:' && response.url.startsWith('http:')) {
    await discard(response)
    const message = `Expected ${what} over https but ${hub.endpoint} redirected to ${new URL(response.url).origin}. Check --endpoint.`
    throw new UpstreamError('bad_answer', message)
  }
  if (response.ok || (init.redirect && response.status < 400)) return response
  await discard(response)
  throw failure(hub, url.host, response, what)
}

/**
 * Returns the hub's own headers of a file. Follows redirects within the hub, such as that of a renamed repository. A
 * redirect to another host is not followed: its response has the headers.
 */
export async function headOf(hub: Hub, path: string, what: string): Promise<Headers> {
  let url = urlOf(hub, path)
  for (let redirects = 0; ; redirects++) {
    const { ok, headers } = await request(hub, url, what, { method: 'HEAD', redirect: 'manual' })
    const next = new URL(headers.get('location') ?? '', url)
    const isFinal = ok || headers.has('x-linked-etag') || next.origin !== url.origin
    if (isFinal || redirects === MAX_REDIRECTS) return headers
    url = next
  }
}

/** Yields the body in chunks. Throws TransientError when the connection stalls or breaks. */
export async function* bodyChunks(hub: Hub, response: Response): AsyncGenerator<Uint8Array> {
  if (!response.body) return
  const reader = response.body.getReader()
  try {
    while (true) {
      const { done, value } = await withStallTimeout(hub, reader.read())
      if (done) return
      yield value
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}

/** Returns at most the first `maxBytes` of the body. */
export async function readStart(hub: Hub, response: Response, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of bodyChunks(hub, response)) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes >= maxBytes) break
  }
  return Buffer.concat(chunks).subarray(0, maxBytes)
}

/** @throws SetupError `bad_endpoint` */
function urlOf({ endpoint }: Hub, path: string): URL {
  if (/^https?:/i.test(endpoint) && URL.canParse(endpoint))
    return new URL(`${endpoint.replace(/\/$/, '')}${path}`)
  throw new SetupError(
    'bad_endpoint',
    `Expected an http or https URL of a hub but got ${JSON.stringify(endpoint)}. Correct --endpoint or HF_ENDPOINT.`,
  )
}

function failure({ endpoint, token }: Hub, hubHost: string, response: Response, what: string): Error {
  const { status } = response
  const host = response.redirected ? new URL(response.url).host : hubHost
  // Links to storage hosts are signed and expire. The next attempt gets a new one from the hub.
  if (status === 403 && host !== hubHost) return new TransientError(`${host} refused the hub's link (403)`)
  if (status === 429 || status === 408 || status >= 500) {
    const waitMs = retryAfterMs(response.headers.get('retry-after'))
    return new TransientError(`status ${status}`, { waitMs })
  }
  const answered = `${endpoint} answered ${status} to the request for ${what}.`
  if (status === 404) return new RequestError('not_on_hub', `${answered} Check the name and --revision.`)
  if (status !== 401 && status !== 403)
    return new UpstreamError('bad_answer', `${answered} Check --endpoint.`)
  const todo = token
    ? 'The token has no access: accept the terms on the page of the model, or use a token with read access'
    : 'If the model is private or gated, accept its terms and set HF_TOKEN to a token with read access'
  return new RequestError('hub_refused', `${answered} ${todo}. If the model is public, check its name.`)
}
