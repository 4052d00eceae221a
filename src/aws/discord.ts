// The function `discord`: a command is checked, put into the queue and answered with "is thinking", within 3 s.

import { Hono } from 'hono'
import { openPreferences } from '../chat/preferences.ts'
import { discordApi } from '../discord/api.ts'
import { discordPlatform } from '../discord/platform.ts'
import { discordEndpoint } from '../discord/webhook.ts'
import { SetupError } from '../errors.ts'
import { openQueue } from '../queue/open.ts'
import { queueProducer } from '../queue/producer.ts'
import { DISCORD_PATH } from '../serve/paths.ts'
import { openStore } from '../store/open.ts'
import { loadConfig, report } from './lifecycle.ts'

/** @throws SetupError */
export async function openDiscord(): Promise<Hono> {
  const config = await loadConfig(['DISCORD_PUBLIC_KEY'])
  const { discordPublicKey: publicKey, discordAnswers: answers, discordApiUrl } = config
  if (publicKey === '') {
    throw new SetupError(
      'no_discord_key',
      'Expected DISCORD_PUBLIC_KEY below GLIMPSE_SECRETS but it is missing.',
    )
  }
  const [store, queue] = await Promise.all([openStore(config.state), openQueue(config.queue)])
  const preferences = openPreferences(store)
  // Nothing here speaks as the bot: its token is for the function that answers.
  const api = discordApi({ token: '', apiUrl: discordApiUrl || undefined })
  const handle = discordEndpoint({
    publicKey,
    sink: queueProducer({ queue, store, preferences }),
    platform: discordPlatform(api, { answers }),
    preferences,
    messageContent: config.discordMessageContent === 'on',
    report,
  })
  return new Hono().post(DISCORD_PATH, ({ req }) => handle(req.raw))
}
