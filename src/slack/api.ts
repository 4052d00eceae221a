// Slack's Web API, and what its failures mean for us.

import { webApi } from '@slack/bolt'
import { isGlimpseError, RequestError, UpstreamError } from '../errors.ts'
import { SLACK_API, type SlackSettings } from './settings.ts'

export type Client = webApi.WebClient

/** Slack answers in a few hundred milliseconds, or not at all. */
const TIMEOUT_MS = 10_000
/** Slack's own faults, by the words it uses for them: the same call may work later. */
const RETRYABLE = new Set([
  'internal_error',
  'fatal_error',
  'service_unavailable',
  'request_timeout',
  'ratelimited',
  'rate_limited',
  'team_added_to_org',
])

/** Calls once: whether to try again is decided where it is known what a second time would do. */
export function slackClient({ botToken, apiUrl }: SlackSettings, timeoutMs = TIMEOUT_MS): Client {
  return new webApi.WebClient(botToken, clientOptions(apiUrl, timeoutMs))
}

export function clientOptions(apiUrl = SLACK_API, timeoutMs = TIMEOUT_MS): webApi.WebClientOptions {
  return {
    slackApiUrl: apiUrl,
    timeout: timeoutMs,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    // Its errors reach us; its log would repeat them with what was sent.
    logLevel: webApi.LogLevel.ERROR,
  }
}

/** What Slack said no with: `channel_not_found`. */
export function slackErrorCode(error: unknown): string | undefined {
  return error instanceof webApi.WebAPIPlatformError ? error.data.error : undefined
}

/** A failed call as one of our errors: UpstreamError where trying again may help, else RequestError. */
export function toGlimpseError(error: unknown): Error {
  if (isGlimpseError(error)) return error
  if (error instanceof webApi.WebAPIRateLimitedError) {
    const retryAfterMs = error.retryAfter * 1000
    return new UpstreamError('slack_busy', `Slack asks to wait ${error.retryAfter} s.`, { retryAfterMs })
  }
  const refusal = slackErrorCode(error)
  if (refusal !== undefined && !RETRYABLE.has(refusal)) {
    return new RequestError('cannot_reply', `Expected Slack to do it but it refused: ${refusal}.`, {
      cause: error,
    })
  }
  const why = refusal ?? (error instanceof Error ? error.message : String(error))
  return new UpstreamError('slack_failed', `Expected Slack to do it but: ${why}.`, { cause: error })
}
