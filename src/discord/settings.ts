// Discord's rows in the table of settings, and what they mean together.

import { SetupError } from '../errors.ts'
import { choice, type SettingValues, secret, text } from '../setting.ts'

export const DISCORD_PATH = '/discord/interactions'

export const DISCORD_SETTINGS = {
  discordToken: secret('DISCORD_TOKEN', { description: 'Token of the Discord bot.' }),
  discordPublicKey: secret('DISCORD_PUBLIC_KEY', {
    description: `Checks the signature of what Discord posts to ${DISCORD_PATH}, where interactions come over HTTP.`,
  }),
  discordAnswers: choice('GLIMPSE_DISCORD_ANSWERS', 'reply', ['reply', 'thread'], {
    description: 'How a message on Discord is answered: by a reply, or in a new thread.',
  }),
  discordMessageContent: choice('GLIMPSE_DISCORD_MESSAGE_CONTENT', 'off', ['off', 'on'], {
    description:
      'Whether the bot has the Message Content intent: then follow-ups in a thread need no mention.',
  }),
  discordApiUrl: text('DISCORD_API_URL', '', {
    defaultText: "Discord's",
    description: "Address of Discord's API, for a stand-in.",
  }),
} as const

export type DiscordValues = SettingValues<typeof DISCORD_SETTINGS>

/** The settings above that a bot needs. */
export interface DiscordSettings {
  token: string
  answers: DiscordValues['discordAnswers']
  messageContent: boolean
  /** Address of the API, without `/v10`. Default: Discord's. A stand-in serves pictures, too. */
  apiUrl?: string
}

/** Undefined when no secret of Discord is set. @throws SetupError `no_discord_token` */
export function discordSettings(values: DiscordValues): DiscordSettings | undefined {
  if (values.discordToken === '') {
    if (values.discordPublicKey === '') return undefined
    throw new SetupError(
      'no_discord_token',
      'DISCORD_TOKEN is missing, although DISCORD_PUBLIC_KEY is set. Copy it from the application\'s page "Bot".',
    )
  }
  return {
    token: values.discordToken,
    answers: values.discordAnswers,
    messageContent: values.discordMessageContent === 'on',
    apiUrl: values.discordApiUrl || undefined,
  }
}
