// Why the gateway does not let us in, and what to do about it.

import { SetupError, UpstreamError } from '../errors.ts'
import { invalidToken } from './api.ts'

/** Close codes after which it is no use to try again (topic "Opcodes and status codes"). */
const AUTHENTICATION_FAILED = 4_004
const DISALLOWED_INTENTS = 4_014

export function closeCodeError(code: number): SetupError {
  switch (code) {
    case AUTHENTICATION_FAILED:
      return invalidToken()
    case DISALLOWED_INTENTS:
      return new SetupError(
        'discord_intents',
        'Expected the Message Content intent but Discord does not allow it (4014). Switch it on at ' +
          'https://discord.com/developers/applications (your application, Bot, Privileged Gateway Intents), or do ' +
          'without it: then the bot answers mentions, replies to it and commands.',
      )
    default:
      return new SetupError(
        'discord_gateway',
        `Expected the gateway to take the bot but it closed with ${code}.`,
      )
  }
}

/** A failed login as one of our errors. */
export function loginError(error: unknown): Error {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (code === 'TokenInvalid') return invalidToken()
  return new UpstreamError('discord_unreachable', `Expected to reach Discord but: ${message}.`, {
    // discord.js' own errors hold the request, and so the token.
    cause: new Error(String(message)),
  })
}
