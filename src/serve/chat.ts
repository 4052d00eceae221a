// Slack and Discord beside the model: one desk for both, started as far as their tokens are set.

import { openDesk } from '../chat/desk.ts'
import { openLimits } from '../chat/limits.ts'
import { openPreferences } from '../chat/preferences.ts'
import type { Config } from '../config.ts'
import { discordApi } from '../discord/api.ts'
import { discordEndpoint } from '../discord/endpoint.ts'
import { startGateway } from '../discord/gateway.ts'
import { discordPlatform } from '../discord/platform.ts'
import { discordSettings } from '../discord/settings.ts'
import type { Engine } from '../job/engine.ts'
import { slackApp } from '../slack/app.ts'
import { slackPlatform } from '../slack/platform.ts'
import { requestReceiver } from '../slack/receiver.ts'
import { slackSettings } from '../slack/settings.ts'
import { openStore } from '../store/open.ts'
import { DISCORD_PATH, SLACK_PATH } from './paths.ts'

type Handler = (request: Request) => Promise<Response>

export interface Chat {
  /** What platforms send to an address of ours, by path; each checks a signature. */
  handlers: Record<string, Handler>
  /** `Slack`, `Discord`: what is listened to. */
  names: string[]
  /** Connects and takes up what was left. @throws SetupError for a token that is not known. */
  start(): Promise<void>
  /** Takes nothing more; what runs is answered within `graceMs`, the rest after the next start. */
  stop(graceMs: number): Promise<void>
}

const HOUR_MS = 3_600_000

/** @throws SetupError for settings that do not go together */
export async function openChat(
  config: Config,
  engine: Promise<Engine>,
  report: (error: unknown) => void,
): Promise<Chat> {
  const slack = slackSettings(config)
  const discord = discordSettings(config)

  const store = await openStore(config.state)
  const preferences = openPreferences(store)
  const keepMs = config.keepHours * HOUR_MS
  const onSlack = slack && slackPlatform(slack)
  const api = discord && discordApi(discord)
  const onDiscord = discord && api && discordPlatform(api, discord)
  const desk = openDesk({
    engine,
    store,
    platforms: [onSlack, onDiscord].filter((platform) => platform !== undefined),
    limits: openLimits({ perMinute: config.asksPerMinute, perHour: config.asksPerHour }),
    preferences,
    maxQueue: config.maxQueue,
    keepMs,
    report,
  })

  const handlers: Record<string, Handler> = {}
  const starts: (() => Promise<void>)[] = []
  const stops: (() => Promise<void>)[] = []
  const common = { desk, preferences, report }
  if (slack && onSlack) {
    const receiver =
      slack.signingSecret && !slack.appToken
        ? requestReceiver({ signingSecret: slack.signingSecret, report })
        : undefined
    if (receiver) handlers[SLACK_PATH] = receiver.handle
    const app = slackApp({ ...common, settings: slack, platform: onSlack, engine, keepMs, receiver })
    starts.push(app.start)
    stops.push(app.stop)
  }
  if (discord && api && onDiscord) {
    const { discordPublicKey: publicKey } = config
    if (publicKey)
      handlers[DISCORD_PATH] = discordEndpoint({
        ...common,
        ...discord,
        platform: onDiscord,
        publicKey,
      })
    let stop = async () => {}
    starts.push(async () => {
      const gateway = await startGateway({ ...common, settings: discord, api, platform: onDiscord })
      stop = gateway.stop
    })
    stops.push(() => stop())
  }

  return {
    handlers,
    names: [...(slack ? ['Slack'] : []), ...(discord ? ['Discord'] : [])],
    async start() {
      for (const start of starts) await start()
      // What was left waits for the model; what comes now is told, should that take too long.
      void engine.then(desk.resume, () => {})
    },
    async stop(graceMs) {
      await Promise.allSettled(stops.map((stop) => stop()))
      await desk.close(graceMs)
    },
  }
}
