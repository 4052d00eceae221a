// The function `answer`: takes questions from the queue, asks the model, posts the replies.

import { openPreferences } from '../chat/preferences.ts'
import { openProcessor } from '../chat/processor.ts'
import { createRateLimiter } from '../chat/rate-limit.ts'
import { discordApi } from '../discord/api.ts'
import { discordPlatform } from '../discord/platform.ts'
import { discordSettings } from '../discord/settings.ts'
import { questionHandler } from '../queue/handler.ts'
import type { MessageHandler } from '../queue/queue.ts'
import { slackPlatform } from '../slack/platform.ts'
import { slackSettings } from '../slack/settings.ts'
import { openStore } from '../store/open.ts'
import { HOUR_MS } from '../time.ts'
import { openEngine } from './engine.ts'
import { loadConfig, report } from './lifecycle.ts'
import { openShortenVisibility, type ShortenVisibility } from './visibility.ts'

export interface Answering {
  handleMessage: MessageHandler
  shortenVisibility: ShortenVisibility
}

/** @throws SetupError */
export async function openAnswer(): Promise<Answering> {
  const config = await loadConfig(['SLACK_BOT_TOKEN', 'DISCORD_TOKEN', 'GLIMPSE_API_TOKEN'])
  const slack = slackSettings(config)
  const discord = discordSettings(config)
  const store = await openStore(config.state)
  const engine = openEngine(config, true)
  // Whoever asks is told.
  engine.catch(report)
  const processor = openProcessor({
    engine,
    store,
    platforms: [
      ...(slack ? [slackPlatform(slack)] : []),
      ...(discord ? [discordPlatform(discordApi(discord), discord)] : []),
    ],
    rateLimiter: createRateLimiter({ perMinute: config.asksPerMinute, perHour: config.asksPerHour }),
    preferences: openPreferences(store),
    maxQueue: config.maxQueue,
    keepMs: config.keepHours * HOUR_MS,
    report,
  })
  return { handleMessage: questionHandler(processor), shortenVisibility: openShortenVisibility(config.queue) }
}
