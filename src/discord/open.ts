// Discord's settings -> the platform that replies, and the source of its events: the gateway, and a webhook for
// interactions where the application has an "Interactions Endpoint URL".

import type { EventDeps, OpenAdapter, WebhookHandler } from '../chat/adapter.ts'
import { SetupError } from '../errors.ts'
import { discordApi } from './api.ts'
import type { Gateway } from './connection.ts'
import { discordPlatform } from './platform.ts'
import type { DiscordSettings, DiscordValues } from './settings.ts'
import { discordEndpoint } from './webhook.ts'

/** @param publicKey '' when interactions come over the gateway */
export function openDiscord(settings: DiscordSettings, publicKey: string): OpenAdapter {
  const api = discordApi(settings)
  const platform = discordPlatform(api, settings)
  return {
    platform,
    receive(deps) {
      let gateway: Gateway | undefined
      return {
        webhook:
          publicKey === '' ? undefined : discordEndpoint({ ...deps, ...settings, platform, publicKey }),
        async start() {
          // Loaded on use: functions have no connection, and their bundles leave it out (deploy/bundle.mjs).
          const { startGateway } = await import('./connection.ts')
          gateway = await startGateway({ ...deps, settings, api, platform })
        },
        stop: async () => await gateway?.stop(),
        fault: () => gateway?.fault(),
        hint: () => gateway?.hint(),
      }
    },
  }
}

/** Needs no token of the bot: the function that answers has it. @throws SetupError `no_discord_key` */
export function openDiscordWebhook(values: DiscordValues, deps: EventDeps): WebhookHandler {
  const { discordPublicKey: publicKey, discordAnswers: answers, discordApiUrl } = values
  if (publicKey === '') {
    throw new SetupError('no_discord_key', 'DISCORD_PUBLIC_KEY is missing below GLIMPSE_SECRETS. Store it.')
  }
  const api = discordApi({ token: '', apiUrl: discordApiUrl || undefined })
  return discordEndpoint({
    ...deps,
    publicKey,
    platform: discordPlatform(api, { answers }),
    messageContent: values.discordMessageContent === 'on',
  })
}
