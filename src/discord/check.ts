// Settings -> whether Discord accepts the token, and whether the application has the key and intents that are set.

import { z } from 'zod'
import { isGlimpseError } from '../errors.ts'
import { type Finding, fail, ok, skipped, unreachable, warn } from '../finding.ts'
import { discordApi } from './api.ts'
import { type DiscordValues, discordSettings } from './settings.ts'

/** Flags of an application (Discord's documentation, "Application Flags"). */
const MESSAGE_CONTENT = (1 << 18) | (1 << 19)
const PORTAL = 'https://discord.com/developers/applications'

const discordApplication = z.looseObject({
  name: z.string(),
  verify_key: z.string(),
  flags: z.number().optional(),
  interactions_endpoint_url: z.string().nullish(),
})

/**
 * Reads the application that the bot's token belongs to: its key, its intents, and how it receives interactions.
 * @throws SetupError `no_discord_token`
 */
export async function checkDiscord(values: DiscordValues): Promise<Finding> {
  const { discordPublicKey } = values
  const settings = discordSettings(values)
  if (settings === undefined) return skipped('DISCORD_TOKEN is not set')
  let application: z.infer<typeof discordApplication>
  try {
    application = discordApplication.parse(await discordApi(settings)('GET', '/applications/@me'))
  } catch (error) {
    if (isGlimpseError(error) && error.kind === 'setup')
      return fail(
        'Discord refuses DISCORD_TOKEN',
        `Copy a new one from ${PORTAL}, your application, "Bot", "Reset Token".`,
      )
    return unreachable('Discord', settings.apiUrl ?? 'https://discord.com/api/', error)
  }
  const { name, verify_key, flags = 0, interactions_endpoint_url: endpoint } = application
  if (discordPublicKey !== '' && discordPublicKey !== verify_key)
    return fail(
      `DISCORD_PUBLIC_KEY does not belong to ${name}`,
      `Copy it from ${PORTAL}, your application, "General Information".`,
    )
  if (settings.messageContent && (flags & MESSAGE_CONTENT) === 0)
    return fail(
      `${name} has no Message Content intent`,
      `Switch it on at ${PORTAL}, "Bot", or unset GLIMPSE_DISCORD_MESSAGE_CONTENT.`,
    )
  if (endpoint && discordPublicKey === '')
    return warn(
      `${name} posts its interactions to ${new URL(endpoint).host}`,
      `Set DISCORD_PUBLIC_KEY, or clear "Interactions Endpoint URL" at ${PORTAL}.`,
    )
  if (!endpoint && discordPublicKey !== '')
    return ok(`${name}; its interactions arrive over the gateway until "Interactions Endpoint URL" is set`)
  return ok(`${name}; its interactions arrive over ${endpoint ? 'HTTP' : 'the gateway'}`)
}
