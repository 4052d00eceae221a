// Discord's REST API, and what its failures mean for us. The same for a bot on the gateway and behind an HTTP address.

import { DiscordAPIError, RateLimitError, REST, type RequestMethod } from 'discord.js'
import { isGlimpseError, RequestError, SetupError, UpstreamError } from '../errors.ts'
import type { DiscordSettings } from './settings.ts'

export interface Call {
  body?: unknown
  query?: Record<string, string>
  /** False where the address itself holds a token (interactions, webhooks). */
  useBotToken?: boolean
  /** Set where a second try is not worth it. */
  noRetry?: boolean
  /** Default 20 s, for all tries. */
  timeoutMs?: number
}

export interface DiscordApi {
  /**
   * What Discord answered, unchecked.
   * @throws UpstreamError when trying again may help; RequestError, of which `isDiscordError` tells the reason; SetupError
   */
  call(method: `${RequestMethod}`, route: `/${string}`, call?: Call): Promise<unknown>
}

/** Discord answers in a few hundred milliseconds, or not at all. */
const TRY_TIMEOUT_MS = 10_000
const TIMEOUT_MS = 20_000
const RETRIES = 2
/** Told to wait longer, whoever asked decides what to do meanwhile. */
const LONGEST_WAIT_MS = 5_000

/** JSON error codes that callers tell apart (topic "Opcodes and status codes"). */
export const CODES = {
  unknownChannel: 10_003,
  unknownMessage: 10_008,
  unknownWebhook: 10_015,
  unknownInteraction: 10_062,
  alreadyAcknowledged: 40_060,
  noAccess: 50_001,
  noPermission: 50_013,
  invalidWebhookToken: 50_027,
  threadExists: 160_004,
} as const

export function discordApi({ token, apiUrl }: Pick<DiscordSettings, 'token' | 'apiUrl'>): DiscordApi {
  const options = {
    ...(apiUrl === undefined ? {} : { api: apiUrl }),
    timeout: TRY_TIMEOUT_MS,
    rejectOnRateLimit: ({ retryAfter, timeToReset }: { retryAfter: number; timeToReset: number }) =>
      Math.max(retryAfter, timeToReset) > LONGEST_WAIT_MS,
  }
  const retrying = new REST({ ...options, retries: RETRIES })
  const once = new REST({ ...options, retries: 0 })

  return {
    async call(method, route, { body, query, useBotToken = true, noRetry, timeoutMs = TIMEOUT_MS } = {}) {
      const rest = noRetry ? once : retrying
      // Set each time: after one 401 discord.js forgets it, though that may have been a passing fault.
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

/** Discord understood and said no. */
class Refusal extends RequestError {
  /** One of Discord's JSON error codes. */
  readonly reason: number

  constructor(reason: number, cause: Error) {
    super('discord_refused', `Expected Discord to do it but it refused (${reason}).`, { cause })
    this.reason = reason
  }
}

/** Whether Discord understood and said no, for one of these reasons if any are named. */
export function isDiscordError(error: unknown, ...reasons: readonly number[]): error is RequestError {
  return error instanceof Refusal && (reasons.length === 0 || reasons.includes(error.reason))
}

/** Causes are told in their own words only: discord.js' errors hold what was sent and addresses with tokens. */
function toGlimpseError(error: unknown): Error {
  if (isGlimpseError(error)) return error
  const why = error instanceof Error ? error.message || error.name : String(error)
  if (error instanceof RateLimitError) {
    const retryAfterMs = Math.max(error.retryAfter, error.timeToReset)
    return new UpstreamError('discord_busy', `Discord asks to wait ${Math.ceil(retryAfterMs / 1000)} s.`, {
      retryAfterMs,
    })
  }
  if (error instanceof DiscordAPIError && error.status === 401 && error.code !== CODES.invalidWebhookToken) {
    return invalidToken()
  }
  // Without a code of Discord's it is something on the way that answered.
  if (error instanceof DiscordAPIError && typeof error.code === 'number') {
    return new Refusal(error.code, new Error(why))
  }
  return new UpstreamError('discord_failed', `Expected Discord to answer but: ${why}.`, {
    cause: new Error(why),
  })
}

export function invalidToken(): SetupError {
  return new SetupError(
    'discord_token',
    'Expected a token that Discord knows but it refused ours. Take a new one from ' +
      'https://discord.com/developers/applications (your application, Bot, Reset Token).',
  )
}
