// Calls of Discord's REST API, and their failures as errors of errors.ts. Used with the gateway and without it.

import { DiscordAPIError, RateLimitError, REST, RESTJSONErrorCodes, type RequestMethod } from 'discord.js'
import { isGlimpseError, RequestError, SetupError, UpstreamError } from '../errors.ts'
import type { DiscordSettings } from './settings.ts'

export interface Call {
  body?: unknown
  query?: Record<string, string>
  /** Milliseconds for all tries. Default 20 s. */
  timeoutMs?: number
}

/**
 * Discord's response, unchecked.
 * @throws UpstreamError when a later try may succeed; RequestError when Discord refuses (see `isDiscordError`);
 * SetupError `discord_token`
 */
export type DiscordApi = (method: `${RequestMethod}`, route: `/${string}`, call?: Call) => Promise<unknown>

/** Discord usually answers within a few hundred milliseconds. */
const TRY_TIMEOUT_MS = 10_000
const TIMEOUT_MS = 20_000
const RETRIES = 2
/** A longer wait for the rate limit fails the call with `retryAfterMs`. */
const MAX_WAIT_MS = 5_000

type Access = Pick<DiscordSettings, 'token' | 'apiUrl'>

/** discord.js's REST client with the bot's token. Its errors contain the request. */
export function discordRest({ token, apiUrl }: Access): REST {
  const rest = new REST({
    ...(apiUrl === undefined ? {} : { api: apiUrl }),
    timeout: TRY_TIMEOUT_MS,
    retries: RETRIES,
    rejectOnRateLimit: ({ retryAfter, timeToReset }) => Math.max(retryAfter, timeToReset) > MAX_WAIT_MS,
  })
  return rest.setToken(token)
}

export function discordApi(access: Access): DiscordApi {
  const { token } = access
  const rest = discordRest(access)
  return async (method, fullRoute, { body, query, timeoutMs = TIMEOUT_MS } = {}) => {
    // discord.js drops the token after a 401, which may have been a temporary fault.
    rest.setToken(token)
    const call = rest.request({
      method: method as RequestMethod,
      fullRoute,
      body,
      query: query && new URLSearchParams(query),
      // The URLs of interactions and webhooks contain a token of their own.
      auth: !/^\/(interactions|webhooks)\//.test(fullRoute),
      signal: AbortSignal.timeout(timeoutMs),
    })
    return await call.catch((error: unknown) => {
      throw toGlimpseError(error)
    })
  }
}

/** Whether Discord refused the call for one of the reasons (topic "Opcodes and status codes"). Without reasons: for any. */
export function isDiscordError(error: unknown, ...reasons: RESTJSONErrorCodes[]): error is RequestError {
  if (!(error instanceof RequestError) || error.code !== 'discord_refused') return false
  return reasons.length === 0 || reasons.includes((error.cause as { code: number }).code)
}

/** The call's result, or `value` when Discord refuses the call for one of the reasons (see `isDiscordError`). */
export async function unlessRefused(
  call: Promise<unknown>,
  value: unknown,
  ...reasons: RESTJSONErrorCodes[]
) {
  return await call.catch((error: unknown) => {
    if (isDiscordError(error, ...reasons)) return value
    throw error
  })
}

/** Keeps only the message and the code of a cause: errors of discord.js contain the request and URLs with tokens. */
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
    if (typeof error.code === 'number') {
      Object.assign(cause, { code: error.code })
      return new RequestError('discord_refused', `Discord refused the call (${error.code}).`, { cause })
    }
  }
  const message = `The call to Discord failed (${cause.message}). Retry later.`
  return new UpstreamError('discord_failed', message, { cause })
}

export function invalidToken(): SetupError {
  return new SetupError(
    'discord_token',
    'Discord refused DISCORD_TOKEN. Copy a new token from ' +
      'https://discord.com/developers/applications (your application, Bot, Reset Token).',
  )
}
