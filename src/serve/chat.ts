// Slack and Discord, as far as their tokens are set: who hears them, who answers them, and what lies between.
//
//   glimpse serve    hears and answers, by one desk for both; with a queue set, through that
//   glimpse listen   hears: questions go into the queue
//   glimpse work     answers what is in the queue

import type { Platform } from '../chat/platform.ts'
import { openPreferences, type Preferences } from '../chat/preferences.ts'
import { openProcessor, type QuestionProcessor } from '../chat/processor.ts'
import { createRateLimiter } from '../chat/rate-limit.ts'
import type { Config } from '../config.ts'
import { discordApi } from '../discord/api.ts'
import { startGateway } from '../discord/connection.ts'
import { discordPlatform } from '../discord/platform.ts'
import { discordSettings } from '../discord/settings.ts'
import { discordEndpoint } from '../discord/webhook.ts'
import type { Engine } from '../engine/engine.ts'
import { questionHandler } from '../queue/handler.ts'
import { openQueue } from '../queue/open.ts'
import { queueProducer } from '../queue/producer.ts'
import type { Consumer, Queue } from '../queue/queue.ts'
import { slackApp } from '../slack/events.ts'
import { slackPlatform } from '../slack/platform.ts'
import { slackSettings } from '../slack/settings.ts'
import { requestReceiver } from '../slack/webhook.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'
import { DISCORD_PATH, SLACK_PATH } from './paths.ts'

type Handler = (request: Request) => Promise<Response>

export interface Chat {
  /** What platforms send to an address of ours, by path; each checks a signature. */
  handlers: Record<string, Handler>
  /** `Slack`, `Discord`: what is listened to. */
  names: string[]
  /** Connects and takes up what was left. @throws SetupError for a token that is not known. */
  start(): Promise<void>
  /** Takes nothing more; what runs is answered within `graceMs`, the rest by another process or after the next start. */
  stop(graceMs: number): Promise<void>
}

const SWEEP_EVERY_MS = HOUR_MS
/** Of the grace, what answers get; the rest is for giving back what has none. */
const ANSWER_SHARE_OF_GRACE = 0.85
/** What the model can see is told where the model is; without it Slack's windows do. */
const NO_ENGINE = new Promise<Engine>(() => {})

export interface ChatOptions {
  config: Config
  /** Answers; absent where only others do, which takes a queue. */
  engine?: Promise<Engine>
  /** Whether connections to the platforms are here. */
  receivesEvents: boolean
  report: (error: unknown) => void
}

/** One half of it: what it needs to begin, and how it ends. */
interface Lifecycle {
  start(): Promise<void>
  stop(graceMs: number): Promise<void>
}

/** @throws SetupError for settings that do not go together */
export async function openChat({ config, engine, receivesEvents, report }: ChatOptions): Promise<Chat> {
  const slack = slackSettings(config)
  const discord = discordSettings(config)
  const queue = config.queue === '' ? undefined : await openQueue(config.queue)

  const store = await openStore(config.state)
  const preferences = openPreferences(store)
  const onSlack = slack && slackPlatform(slack)
  const api = discord && discordApi(discord)
  const onDiscord = discord && api && discordPlatform(api, discord)
  const platforms = [onSlack, onDiscord].filter((platform) => platform !== undefined)
  const processor =
    engine &&
    openProcessor({ ...processorOptions(config, platforms, { store, preferences }), engine, report })
  const sink = queue ? queueProducer({ queue, store, preferences }) : processor!

  const handlers: Record<string, Handler> = {}
  const connections: Lifecycle[] = []
  const common = { sink: sink, preferences, report }
  if (receivesEvents && slack && onSlack) {
    const receiver =
      slack.signingSecret && !slack.appToken
        ? requestReceiver({ signingSecret: slack.signingSecret, report })
        : undefined
    if (receiver) handlers[SLACK_PATH] = receiver.handle
    const keepMs = config.keepHours * HOUR_MS
    const slackOptions = { ...common, settings: slack, platform: onSlack, keepMs, receiver }
    connections.push(slackApp({ ...slackOptions, engine: engine ?? NO_ENGINE }))
  }
  if (receivesEvents && discord && api && onDiscord) {
    const { discordPublicKey: publicKey } = config
    if (publicKey)
      handlers[DISCORD_PATH] = discordEndpoint({
        ...common,
        ...discord,
        platform: onDiscord,
        publicKey,
      })
    let stop = async () => {}
    connections.push({
      async start() {
        const gateway = await startGateway({ ...common, settings: discord, api, platform: onDiscord })
        stop = gateway.stop
      },
      stop: () => stop(),
    })
  }
  const answers =
    engine && processor && answerWorker({ engine, processor: processor, queue, store, config, report })

  return {
    handlers,
    names: [...(slack ? ['Slack'] : []), ...(discord ? ['Discord'] : [])],
    async start() {
      await queue?.check()
      for (const connection of connections) await connection.start()
      await answers?.start()
    },
    async stop(graceMs) {
      await Promise.allSettled(connections.map((connection) => connection.stop(graceMs)))
      if ('drained' in sink) await sink.drained()
      await answers?.stop(graceMs)
    },
  }
}

function processorOptions(
  { asksPerMinute, asksPerHour, maxQueue, keepHours }: Config,
  platforms: readonly Platform[],
  kept: { store: Store; preferences: Preferences },
) {
  const rateLimiter = createRateLimiter({ perMinute: asksPerMinute, perHour: asksPerHour })
  return { ...kept, platforms, rateLimiter, maxQueue, keepMs: keepHours * HOUR_MS }
}

interface AnswerWorkerOptions extends Required<Pick<ChatOptions, 'engine' | 'config' | 'report'>> {
  processor: QuestionProcessor
  queue?: Queue
  store: Store
}

/** Answers once the model is there: what was left, or what is in the queue. */
function answerWorker({ engine, processor, queue, store, config, report }: AnswerWorkerOptions): Lifecycle {
  let consumer: Consumer | undefined
  let sweeping: NodeJS.Timeout | undefined
  let isStopping = false
  const consume = (from: Queue) => {
    if (isStopping) return
    const concurrency = Math.min(config.maxBatch, config.maxQueue)
    consumer = from.consume(questionHandler(processor), { concurrency })
    // What is left over comes again by itself; what is past its time nobody else looks for.
    sweeping = setInterval(() => void store.sweep().catch(report), SWEEP_EVERY_MS).unref()
  }
  return {
    async start() {
      // What was left waits for the model; what comes now is told, should that take too long.
      void engine.then(() => (queue ? consume(queue) : processor.recoverAbandoned())).catch(() => {})
    },
    async stop(graceMs) {
      isStopping = true
      clearInterval(sweeping)
      await Promise.all([
        consumer?.stop(graceMs),
        processor.shutdown(queue ? graceMs * ANSWER_SHARE_OF_GRACE : graceMs),
      ])
    },
  }
}
