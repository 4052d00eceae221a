// Discord as a row of the table of platforms. discord.js is optional and takes long to load, so open.ts and check.ts are loaded
// on use.

import type { Adapter } from '../chat/adapter.ts'
import { loadPart } from '../optional-part.ts'
import { DISCORD_PATH, DISCORD_SETTINGS, discordSettings } from './settings.ts'

const load = <T>(module: () => Promise<T>) => loadPart('Discord', ['discord.js', '@discordjs/ws'], module)

export const discord: Adapter<typeof DISCORD_SETTINGS> = {
  label: 'Discord',
  settings: DISCORD_SETTINGS,
  webhookPath: DISCORD_PATH,
  secrets: { receive: ['DISCORD_PUBLIC_KEY'], reply: ['DISCORD_TOKEN'] },
  async open(values) {
    const settings = discordSettings(values)
    return settings && (await load(() => import('./open.ts'))).openDiscord(settings, values.discordPublicKey)
  },
  openWebhook: async (values, deps) =>
    (await load(() => import('./open.ts'))).openDiscordWebhook(values, deps),
  checks: { discord: async (values) => (await load(() => import('./check.ts'))).checkDiscord(values) },
  apiUrl: ({ discordToken, discordApiUrl }) =>
    discordToken === '' ? undefined : discordApiUrl || 'https://discord.com/api/v10/gateway',
}
