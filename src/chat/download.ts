// A picture's URL on a platform -> its bytes. Any user can post a URL, so requests go only to the platform's hosts, over
// https, and so does the token.
//
// Redirects are followed one by one, each checked like the first URL: fetch would follow a redirect to any host, and
// would drop the token on a redirect from one host of the platform to another.

import { setTimeout as wait } from 'node:timers/promises'
import { readBody } from '../body.ts'
import { BusyError, RequestError, UpstreamError } from '../errors.ts'
import { describeBytes, MAX_PICTURE_BYTES } from '../image/format.ts'
import { discard } from '../retry.ts'

export interface DownloadPolicy {
  /** Host names. `.slack.com` means every host under it. */
  hosts: readonly string[]
  /** Bearer token for these hosts. */
  token?: string
  /** One more allowed origin, for a test double. */
  testOrigin?: string
  /** Milliseconds for the whole download. Default and maximum: 15 s. */
  timeoutMs?: number
  sleep?: (ms: number) => Promise<unknown>
}

const MAX_REDIRECTS = 3
const TIMEOUT_MS = 15_000
const MAX_ATTEMPTS = 3
const PAUSE_MS = 500

/** @throws RequestError `picture_gone`, `picture_forbidden`, `picture_too_large`; UpstreamError `picture_unreachable` */
export async function download(url: string, policy: DownloadPolicy): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(Math.max(1, Math.min(TIMEOUT_MS, policy.timeoutMs ?? TIMEOUT_MS)))
  for (let attempt = 1; ; attempt++) {
    try {
      return await fetchFollowingRedirects(url, policy, signal)
    } catch (error) {
      if (!(error instanceof UpstreamError) || attempt === MAX_ATTEMPTS || signal.aborted) throw error
      await (policy.sleep ?? wait)(PAUSE_MS * attempt)
    }
  }
}

async function fetchFollowingRedirects(
  url: string,
  policy: DownloadPolicy,
  signal: AbortSignal,
): Promise<Uint8Array> {
  let at = checkedAddress(url, policy)
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const headers: Record<string, string> = policy.token ? { authorization: `Bearer ${policy.token}` } : {}
    const response = await fetch(at, { headers, redirect: 'manual', signal }).catch((cause: unknown) => {
      throw unreachable('the connection failed', cause)
    })
    if (response.status >= 300 && response.status < 400) {
      await discard(response)
      at = checkedAddress(response.headers.get('location') ?? '', policy, at)
      continue
    }
    if (!response.ok) {
      await discard(response)
      throw refusal(response.status)
    }
    return await readPicture(response).catch((error: unknown) => {
      throw error instanceof BusyError ? unreachable('the connection broke off', error.cause) : error
    })
  }
  throw new RequestError('picture_forbidden', `The picture's URL redirects more than ${MAX_REDIRECTS} times.`)
}

function checkedAddress(url: string, { hosts, testOrigin }: DownloadPolicy, base?: URL): URL {
  const at = URL.canParse(url, base) ? new URL(url, base) : undefined
  const isAllowed =
    at &&
    ((testOrigin !== undefined && at.origin === testOrigin) ||
      (at.protocol === 'https:' && at.port === '' && at.username === '' && isAllowedHost(at.hostname, hosts)))
  if (isAllowed) return at
  throw new RequestError(
    'picture_forbidden',
    "The picture's URL is not on one of the platform's hosts. Upload the picture to the platform.",
  )
}

/** Whether `hosts` has this host: `.slack.com` matches every host under it. */
function isAllowedHost(hostname: string, hosts: readonly string[]): boolean {
  return hosts.some((host) => hostname === host || (host.startsWith('.') && hostname.endsWith(host)))
}

function refusal(status: number): Error {
  if (status === 404 || status === 410) {
    return new RequestError('picture_gone', `The platform no longer has the picture (HTTP ${status}).`)
  }
  if (status === 401 || status === 403) {
    return new RequestError('picture_forbidden', `The platform refused the picture (HTTP ${status}).`)
  }
  return unreachable(`HTTP ${status}`)
}

async function readPicture(response: Response): Promise<Uint8Array> {
  const isTooLarge = Number(response.headers.get('content-length')) > MAX_PICTURE_BYTES
  if (isTooLarge) await discard(response)
  // Content-Length may be absent or wrong.
  const body = isTooLarge ? undefined : await readBody(response, MAX_PICTURE_BYTES)
  if (!body)
    throw new RequestError('picture_too_large', `The picture has more than ${MAX_PICTURE_BYTES} bytes.`)
  const bytes = new Uint8Array(body)
  // Slack answers 200 with a login page when the token lacks a permission.
  if (describeBytes(bytes).startsWith('an HTML page')) {
    throw new RequestError(
      'picture_forbidden',
      'The platform sent a login page in place of the picture. Check the permissions of its token (Slack: files:read).',
    )
  }
  return bytes
}

function unreachable(why: string, cause?: unknown): UpstreamError {
  return new UpstreamError('picture_unreachable', `The picture cannot be fetched: ${why}.`, { cause })
}
