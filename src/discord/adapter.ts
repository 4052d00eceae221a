// Discord as a row of the table of platforms. discord.js takes long to load, so open.ts and check.ts are loaded on use.

import type { Adapter } from '../chat/adapter.ts'
import { DISCORD_PATH, DISCORD_SETTINGS, discordSettings } from './settings.ts'

export const discord: Adapter<typeof DISCORD_SETTINGS> = {
  label: 'Discord',
  settings: DISCORD_SETTINGS,
  webhookPath: DISCORD_PATH,
  secrets: { receive: ['DISCORD_PUBLIC_KEY'], reply: ['DISCORD_TOKEN'] },
  async open(values) {
    const settings = discordSettings(values)
    return settings && (await import('./open.ts')).openDiscord(settings, values.discordPublicKey)
  },
  openWebhook: async (values, deps) => (await import('./open.ts')).openDiscordWebhook(values, deps),
  checks: { discord: async (values) => (await import('./check.ts')).checkDiscord(values) },
  apiUrl: ({ discordToken, discordApiUrl }) =>
    discordToken === '' ? undefined : discordApiUrl || 'https://discord.com/api/v10/gateway',
}
