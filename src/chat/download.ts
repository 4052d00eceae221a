// A picture's address on a platform -> its bytes. Addresses come from messages that anybody may write: only the
// platform's own hosts are asked, over https, and a token goes to nobody else.
//
// fetch would follow a redirect to any host, and drop the token where a platform sends on to a host of its own: so
// redirects are followed here, one by one, each checked like the first.

import { setTimeout as wait } from 'node:timers/promises'
import { RequestError, UpstreamError } from '../errors.ts'
import { describeBytes, MAX_PICTURE_BYTES } from '../image/format.ts'
import { discard } from '../retry.ts'

export interface DownloadPolicy {
  /** Host names; `.slack.com` stands for each name under it. */
  hosts: readonly string[]
  /** Sent along to these hosts. */
  token?: string
  /** A whole origin that is asked although it is no host of the platform: a stand-in on this machine. */
  testOrigin?: string
  /** Milliseconds for the whole download. Default and maximum: 15 s. */
  timeoutMs?: number
  /** Another in tests. */
  sleep?: (ms: number) => Promise<unknown>
}

const MAX_REDIRECTS = 3
const TIMEOUT_MS = 15_000
const MAX_ATTEMPTS = 3
const PAUSE_MS = 500

/**
 * @throws RequestError `picture_gone`, `picture_forbidden`, `picture_too_large`; UpstreamError `picture_unreachable`.
 */
export async function download(url: string, policy: DownloadPolicy): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(Math.max(1, Math.min(TIMEOUT_MS, policy.timeoutMs ?? TIMEOUT_MS)))
  for (let tries = 1; ; tries++) {
    try {
      return await fetchFollowingRedirects(url, policy, signal)
    } catch (error) {
      if (!(error instanceof UpstreamError) || tries === MAX_ATTEMPTS || signal.aborted) throw error
      await (policy.sleep ?? wait)(PAUSE_MS * tries)
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
    return await readPicture(response)
  }
  throw new RequestError('picture_forbidden', 'Expected a picture but was sent from address to address.')
}

function checkedAddress(url: string, { hosts, testOrigin }: DownloadPolicy, base?: URL): URL {
  const at = URL.canParse(url, base) ? new URL(url, base) : undefined
  const isOurs =
    at &&
    ((testOrigin !== undefined && at.origin === testOrigin) ||
      (at.protocol === 'https:' && at.port === '' && at.username === '' && isAllowedHost(at.hostname, hosts)))
  if (isOurs) return at
  throw new RequestError(
    'picture_forbidden',
    "Expected a picture on the platform's own hosts but it is elsewhere.",
  )
}

/** `.slack.com` stands for each name under it. */
export function isAllowedHost(hostname: string, hosts: readonly string[]): boolean {
  return hosts.some((host) => hostname === host || (host.startsWith('.') && hostname.endsWith(host)))
}

function refusal(status: number): Error {
  if (status === 404 || status === 410) {
    return new RequestError(
      'picture_gone',
      `Expected a picture but the platform no longer has it (${status}).`,
    )
  }
  if (status === 401 || status === 403) {
    return new RequestError(
      'picture_forbidden',
      `Expected a picture but the platform refused it (${status}).`,
    )
  }
  return unreachable(`the platform answered ${status}`)
}

async function readPicture(response: Response): Promise<Uint8Array> {
  const tooLarge = () =>
    new RequestError(
      'picture_too_large',
      `Expected a picture of at most ${MAX_PICTURE_BYTES} bytes but got more.`,
    )
  if (Number(response.headers.get('content-length')) > MAX_PICTURE_BYTES) {
    await discard(response)
    throw tooLarge()
  }
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  try {
    // Counted as they come: a length may be absent, or a lie.
    for await (const chunk of response.body ?? []) {
      sizeBytes += chunk.length
      if (sizeBytes > MAX_PICTURE_BYTES) throw tooLarge()
      chunks.push(chunk)
    }
  } catch (cause) {
    throw cause instanceof RequestError ? cause : unreachable('it broke off', cause)
  }
  const bytes = new Uint8Array(Buffer.concat(chunks))
  // With a token that lacks a permission Slack answers 200 and a page to log in on.
  if (describeBytes(bytes).startsWith('an HTML page')) {
    throw new RequestError('picture_forbidden', 'Expected a picture but got a page to log in on.')
  }
  return bytes
}

function unreachable(why: string, cause?: unknown): UpstreamError {
  return new UpstreamError('picture_unreachable', `Expected a picture from the platform but ${why}.`, {
    cause,
  })
}
