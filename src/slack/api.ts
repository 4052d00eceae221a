// Calls of Slack's Web API, and their failures as errors of errors.ts.

import { webApi } from '@slack/bolt'
import { isGlimpseError, RequestError, UpstreamError } from '../errors.ts'
import { discard, retryAfterMs } from '../retry.ts'
import { SLACK_API, type SlackSettings } from './settings.ts'

export type Client = webApi.WebClient

/** Slack usually answers within a few hundred milliseconds. */
const TIMEOUT_MS = 10_000
/** Error codes of faults inside Slack: a later try of the same call may succeed. */
const RETRYABLE = new Set([
  'internal_error',
  'fatal_error',
  'service_unavailable',
  'request_timeout',
  'ratelimited',
  'rate_limited',
  'team_added_to_org',
])

/** A client that tries each call once: only the caller knows whether a repeated call would post twice. */
export function slackClient({ botToken, apiUrl }: SlackSettings, timeoutMs = TIMEOUT_MS): Client {
  return new webApi.WebClient(botToken, clientOptions(apiUrl, timeoutMs))
}

export function clientOptions(apiUrl = SLACK_API, timeoutMs = TIMEOUT_MS): webApi.WebClientOptions {
  return {
    slackApiUrl: apiUrl,
    timeout: timeoutMs,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    // Warnings of the SDK contain what was sent. Failures are thrown and need no log.
    logLevel: webApi.LogLevel.ERROR,
  }
}

/** The error code with which Slack refused a call, such as `channel_not_found`. */
export function slackErrorCode(error: unknown): string | undefined {
  return error instanceof webApi.WebAPIPlatformError ? error.data.error : undefined
}

/** A failed call as UpstreamError when a later try may succeed, else as RequestError `cannot_reply`. */
export function toGlimpseError(error: unknown): Error {
  if (isGlimpseError(error)) return error
  if (error instanceof webApi.WebAPIRateLimitedError) {
    const message = `Slack limits the rate. Retry after ${error.retryAfter} s.`
    return new UpstreamError('slack_busy', message, { retryAfterMs: error.retryAfter * 1000 })
  }
  const code = slackErrorCode(error)
  if (code !== undefined && !RETRYABLE.has(code)) {
    return new RequestError('cannot_reply', `Slack refused the call (${code}).`, { cause: error })
  }
  const why = code ?? (error instanceof Error ? error.message : String(error))
  const message = `The call to Slack failed (${why}). Retry later.`
  return new UpstreamError('slack_failed', message, { cause: error })
}

/**
 * Posts to the `response_url` of a command or shortcut, visible to its user only. Slack accepts five posts within
 * 30 minutes (docs.slack.dev, "Handling user interaction").
 * @throws UpstreamError `slack_failed` when a later try may succeed; RequestError `cannot_reply`
 */
export async function respondEphemerally(url: string, body: object): Promise<void> {
  await respond(url, { response_type: 'ephemeral', replace_original: false, ...body })
}

/** Removes the message that only its reader sees, whose button was pressed. @throws as `respondEphemerally` */
export async function removeEphemeral(url: string): Promise<void> {
  await respond(url, { delete_original: true })
}

async function respond(url: string, body: object): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((cause: unknown) => {
    throw new UpstreamError('slack_failed', 'The connection to response_url failed. Retry later.', { cause })
  })
  await discard(response)
  if (response.ok) return
  const message = `Slack answered ${response.status} to a reply through response_url.`
  if (response.status < 500 && response.status !== 429) throw new RequestError('cannot_reply', message)
  throw new UpstreamError('slack_failed', message, {
    retryAfterMs: retryAfterMs(response.headers.get('retry-after')),
  })
}
