// How this bot is known to Discord, and how it behaves there.

import type { Config } from '../config.ts'
import { SetupError } from '../errors.ts'

export interface DiscordSettings {
  /** The bot's token: speaks as the bot. */
  token: string
  /** Answers to a message: beside it, or in a thread of their own. */
  answers: 'reply' | 'thread'
  /** Whether the privileged Message Content intent is switched on: then follow-ups in threads need no mention. */
  messageContent: boolean
  /** Where the API is instead, without `/v10`: a stand-in on this machine. */
  apiUrl?: string
  /** Origin that pictures may come from besides Discord's hosts: a stand-in on this machine. */
  picturesUrl?: string
}

/** Undefined without any setting of Discord. @throws SetupError `no_discord_token` */
export function discordSettings(config: Config): DiscordSettings | undefined {
  if (config.discordToken === '') {
    if (config.discordPublicKey === '') return undefined
    throw new SetupError(
      'no_discord_token',
      'Expected DISCORD_TOKEN beside DISCORD_PUBLIC_KEY but it is missing.',
    )
  }
  return {
    token: config.discordToken,
    answers: config.discordAnswers,
    messageContent: config.discordMessageContent === 'on',
    apiUrl: config.discordApiUrl || undefined,
  }
}
