// Calls of Discord's REST API, and their failures as errors of errors.ts. Used with the gateway and without it.

import { DiscordAPIError, RateLimitError, REST, RESTJSONErrorCodes, type RequestMethod } from 'discord.js'
import { isGlimpseError, RequestError, SetupError, UpstreamError } from '../errors.ts'
import type { DiscordSettings } from './settings.ts'

export interface Call {
  body?: unknown
  query?: Record<string, string>
  /** Default true. False for interactions and webhooks, whose URL contains a token. */
  useBotToken?: boolean
  noRetry?: boolean
  /** Milliseconds for all tries. Default 20 s. */
  timeoutMs?: number
}

export interface DiscordApi {
  /**
   * Discord's response, unchecked.
   * @throws UpstreamError when a later try may succeed; RequestError when Discord refuses (see `isDiscordError`);
   * SetupError `discord_token`
   */
  call(method: `${RequestMethod}`, route: `/${string}`, call?: Call): Promise<unknown>
}

/** Discord usually answers within a few hundred milliseconds. */
const TRY_TIMEOUT_MS = 10_000
const TIMEOUT_MS = 20_000
const RETRIES = 2
/** A longer wait for the rate limit fails the call with `retryAfterMs`. */
const MAX_WAIT_MS = 5_000

export function discordApi({ token, apiUrl }: Pick<DiscordSettings, 'token' | 'apiUrl'>): DiscordApi {
  const options = {
    ...(apiUrl === undefined ? {} : { api: apiUrl }),
    timeout: TRY_TIMEOUT_MS,
    rejectOnRateLimit: ({ retryAfter, timeToReset }: { retryAfter: number; timeToReset: number }) =>
      Math.max(retryAfter, timeToReset) > MAX_WAIT_MS,
  }
  const retrying = new REST({ ...options, retries: RETRIES })
  const once = new REST({ ...options, retries: 0 })

  return {
    async call(method, route, { body, query, useBotToken = true, noRetry, timeoutMs = TIMEOUT_MS } = {}) {
      const rest = noRetry ? once : retrying
      // discord.js drops the token after a 401, which may have been a temporary fault.
      rest.setToken(token)
      try {
        return await rest.request({
          method: method as RequestMethod,
          fullRoute: route,
          body,
          query: query && new URLSearchParams(query),
          auth: useBotToken,
          signal: AbortSignal.timeout(timeoutMs),
        })
      } catch (error) {
        throw toGlimpseError(error)
      }
    },
  }
}

/** Discord understood the call and refused it. */
class Refusal extends RequestError {
  /** A JSON error code of Discord (topic "Opcodes and status codes"). */
  readonly reason: number

  constructor(reason: number, cause: Error) {
    super('discord_refused', `Discord refused the call (${reason}).`, { cause })
    this.reason = reason
  }
}

/** Whether Discord refused the call: for one of these reasons, or without reasons for any. */
export function isDiscordError(error: unknown, ...reasons: RESTJSONErrorCodes[]): error is RequestError {
  return error instanceof Refusal && (reasons.length === 0 || reasons.includes(error.reason))
}

/** Keeps only the message of a cause: errors of discord.js contain the request and URLs with tokens. */
function toGlimpseError(error: unknown): Error {
  if (isGlimpseError(error)) return error
  if (error instanceof RateLimitError) {
    const retryAfterMs = Math.max(error.retryAfter, error.timeToReset)
    const message = `Discord limits the rate. Retry after ${Math.ceil(retryAfterMs / 1000)} s.`
    return new UpstreamError('discord_busy', message, { retryAfterMs })
  }
  const cause = new Error(error instanceof Error ? error.message || error.name : String(error))
  if (error instanceof DiscordAPIError) {
    if (error.status === 401 && error.code !== RESTJSONErrorCodes.InvalidWebhookToken) return invalidToken()
    // A response without a numeric code comes from a proxy.
    if (typeof error.code === 'number') return new Refusal(error.code, cause)
  }
  return new UpstreamError('discord_failed', `The call to Discord failed (${cause.message}). Retry later.`, {
    cause,
  })
}

export function invalidToken(): SetupError {
  return new SetupError(
    'discord_token',
    'Discord refused DISCORD_TOKEN. Copy a new token from ' +
      'https://discord.com/developers/applications (your application, Bot, Reset Token).',
  )
}
