// Requests to a Hugging Face hub: the token goes to the hub alone, and what can be tried again is.
//
// Goes in: a URL and what part of it. Comes out: a response whose status is fine, or an error that says what to do.

import { RequestError, SetupError, UpstreamError } from '../errors.ts'
import { discard, type RetryOptions, retryAfterMs, TransientError, withStallTimeout } from '../retry.ts'

export interface Hub extends RetryOptions {
  /** `https://huggingface.co`, or a mirror that speaks the same. */
  endpoint: string
  token?: string
}

const MAX_REDIRECTS = 5

/** One request, followed where it is sent on to. Throws what `retry` understands. */
export async function request(
  hub: Hub,
  path: string,
  what: string,
  { from = 0, to }: { from?: number; to?: number } = {},
): Promise<{ response: Response; offset: number }> {
  const origin = new URL(hub.endpoint).origin
  const begin = new URL(`${hub.endpoint.replace(/\/$/, '')}${path}`)
  let url = begin
  let hasRenewed = false
  const range = from > 0 || to !== undefined ? { range: `bytes=${from}-${to ?? ''}` } : undefined
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const authorization =
      hub.token && url.origin === origin ? { authorization: `Bearer ${hub.token}` } : undefined
    const headers = { 'accept-encoding': 'identity', ...range, ...authorization }
    const response = await withStallTimeout(
      hub,
      fetch(url, { headers, redirect: 'manual', signal: hub.signal }),
    )
    if (response.status >= 300 && response.status < 400 && response.status !== 304) {
      await discard(response)
      const next = new URL(response.headers.get('location') ?? '', url)
      if (next.protocol !== url.protocol && next.protocol !== 'https:') {
        throw new UpstreamError(
          'bad_redirect',
          `Expected ${what} over https but ${url.host} sends on to ${next.protocol}`,
        )
      }
      url = next
      continue
    }
    if (response.ok) return { response, offset: offsetOf(response, from, what) }
    await discard(response)
    if (response.status === 403 && url.origin !== origin) {
      // The hub signs its links for a while only: it is asked for a new one before anybody is told.
      if (hasRenewed) throw linkRefused(url.host, what)
      hasRenewed = true
      hop = -1
      url = begin
      continue
    }
    throw failure(hub, response, what)
  }
  throw new UpstreamError('bad_redirect', `Expected ${what} but the hub sends on and on. Check --endpoint.`)
}

/** What the hub itself says of a file, without the file: it may stand on another host, which is not asked. */
export async function headOf(hub: Hub, path: string, what: string): Promise<Headers> {
  let url = new URL(`${hub.endpoint.replace(/\/$/, '')}${path}`)
  const { origin } = url
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers = {
      'accept-encoding': 'identity',
      ...(hub.token && { authorization: `Bearer ${hub.token}` }),
    }
    const asked = fetch(url, { method: 'HEAD', headers, redirect: 'manual', signal: hub.signal })
    const response = await withStallTimeout(hub, asked)
    if (response.status >= 400) throw failure(hub, response, what)
    const next = new URL(response.headers.get('location') ?? '', url)
    // A file that was renamed is found on the same host.
    if (response.ok || response.headers.has('x-linked-etag') || next.origin !== origin)
      return response.headers
    url = next
  }
  throw new UpstreamError('bad_redirect', `Expected ${what} but the hub sends on and on. Check --endpoint.`)
}

/** The body, piece by piece; a connection that stands still is a break. */
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

/** Where the body begins: at `from`, or at 0 where the server does not know ranges. */
function offsetOf(response: Response, from: number, what: string): number {
  if (response.status !== 206) return 0
  const begins = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]
  if (Number(begins) === from) return from
  throw new UpstreamError(
    'bad_answer',
    `Expected ${what} from byte ${from} but the hub sent it from ${begins ?? 'nowhere'}.`,
  )
}

function linkRefused(host: string, what: string): UpstreamError {
  return new UpstreamError(
    'bad_answer',
    `Expected ${what} from ${host}, where the hub sends for it, but twice it refused the hub's link (403). Check the clock of this machine and what lies between it and ${host}, and run the same command again.`,
  )
}

function failure({ endpoint, token }: Hub, response: Response, what: string): Error {
  const { status } = response
  if (status === 401 || status === 403) {
    const todo = token
      ? 'The token has no access: accept the terms on its page, or use a token that may read it'
      : 'If it is private or asks to accept terms, set HF_TOKEN to a token that may read it'
    return new RequestError(
      'hub_refused',
      `Expected ${what} from ${endpoint} but it is refused (${status}). ${todo}; check the name too.`,
    )
  }
  if (status === 404) {
    return new RequestError(
      'not_on_hub',
      `Expected ${what} from ${endpoint} but it is not there. Check the name and --revision.`,
    )
  }
  if (status === 429 || status === 408 || status >= 500) {
    return new TransientError(`it answered ${status}`, {
      waitMs: retryAfterMs(response.headers.get('retry-after')),
    })
  }
  return new UpstreamError(
    'bad_answer',
    `Expected ${what} from ${endpoint} but it answered ${status}. Check --endpoint.`,
  )
}

/** Throws SetupError `bad_endpoint`. */
export function checkEndpoint(endpoint: string): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (url && (url.protocol === 'https:' || url.protocol === 'http:')) return
  throw new SetupError(
    'bad_endpoint',
    `Expected an http or https address of a hub but got ${JSON.stringify(endpoint)}.`,
  )
}
