// The bot connected to the Discord double: the real question processor on a disk store, with the engine double.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lastQuestion } from '../../src/chat/conversation.ts'
import { openPreferences, type Preferences } from '../../src/chat/preferences.ts'
import { openProcessor, type QuestionProcessor } from '../../src/chat/processor.ts'
import { discordApi } from '../../src/discord/api.ts'
import { type Gateway, startGateway } from '../../src/discord/connection.ts'
import { type DiscordPlatform, discordPlatform } from '../../src/discord/platform.ts'
import type { DiscordSettings } from '../../src/discord/settings.ts'
import { discordEndpoint } from '../../src/discord/webhook.ts'
import { isGlimpseError } from '../../src/errors.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import { testLimiter } from '../chat/in-memory-store.ts'
import { type Double, doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'
import {
  type DiscordDouble,
  type DoubleOptions,
  type ReadMessage,
  startDiscordDouble,
} from './double/index.ts'
import type { File } from './double/state.ts'

export interface Bot {
  processor: QuestionProcessor
  platform: DiscordPlatform
  preferences: Preferences
  engine: Double
  /** Codes of reported Glimpse errors, and other reported errors as they are. */
  reported: unknown[]
  errors: unknown[]
  gateway?: Gateway
  discord: DiscordDouble
  /** Advances the bot's clock beyond real time. */
  pass(ms: number): void
  /** Shuts down as on SIGTERM. */
  close(): Promise<void>
}

export interface BotOptions extends Partial<DiscordSettings> {
  folder: string
  engine?: Double
  limits?: { perMinute: number; perHour: number }
  /** Does not connect to the gateway. Default: connects. */
  isOffline?: boolean
  /** Simulates a crash of the process. */
  crash?: Crash
  /** Offset of the clock in ms. Leases of abandoned questions expire after half a minute. */
  laterMs?: number
}

/** Factor by which pauses between attempts are shortened. */
const SPEED = 100
/** Bounds the shutdown; running work ends by itself. */
const HANGS_MS = 60_000
const KEEP_MS = 86_400_000

export async function startBot(discord: DiscordDouble, options: BotOptions): Promise<Bot> {
  const engine = options.engine ?? doubleEngine()
  const reported: unknown[] = []
  const errors: unknown[] = []
  const report = (error: unknown) => {
    errors.push(error)
    reported.push(isGlimpseError(error) ? error.code : error)
  }
  let passedMs = options.laterMs ?? 0
  const now = () => Date.now() + passedMs
  const settings: DiscordSettings = {
    token: options.token ?? discord.token,
    answers: options.answers ?? 'reply',
    messageContent: options.messageContent ?? false,
    apiUrl: discord.apiUrl,
  }
  const disk = await openDiskStore(options.folder)
  const store = options.crash ? options.crash.wrap(disk) : disk
  const preferences = openPreferences(store)
  const api = discordApi(settings)
  const real = discordPlatform(api, settings, now)
  const platform = options.crash ? options.crash.wrapPlatform(real) : real
  const processor = openProcessor({
    platforms: [platform],
    engine: Promise.resolve(engine),
    store,
    rateLimiter: testLimiter(options.limits ?? { perMinute: 100, perHour: 1_000 }),
    preferences,
    maxQueue: 8,
    keepMs: KEEP_MS,
    report,
    now,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms / SPEED).unref()),
  })
  await processor.recoverAbandoned()
  const gateway = options.isOffline
    ? undefined
    : await startGateway({
        settings,
        api,
        platform,
        sink: processor,
        preferences,
        lastQuestion: (name) => lastQuestion(store, name),
        report,
        now,
      })
  return {
    processor,
    platform,
    preferences,
    engine,
    reported,
    errors,
    gateway,
    discord,
    pass(ms) {
      passedMs += ms
    },
    async close() {
      await gateway?.stop()
      await processor.shutdown(HANGS_MS * SPEED)
    },
  }
}

/** A simulated crash: after it, calls through the wrapped objects have no effect. */
export interface Crash {
  wrap<T extends object>(part: T): T
  wrapPlatform(platform: DiscordPlatform): DiscordPlatform
}

export type CrashPoint = 'before the reply' | 'after the reply' | 'when the reply fails'

export function crashAt(point: CrashPoint): Crash {
  let isOver = false
  const end = (): never => {
    isOver = true
    throw new Error('The process is dead.')
  }
  const wrap = <T extends object>(part: T): T =>
    new Proxy(part, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) =>
          isOver ? Promise.reject(new Error('The process is dead.')) : value(...given)
      },
    })
  return {
    wrap,
    wrapPlatform(platform) {
      const post: DiscordPlatform['post'] = async (...given) => {
        if (point === 'before the reply') return end()
        const posted = await platform.post(...given).catch((error: unknown) => {
          if (point === 'when the reply fails') return end()
          throw error
        })
        return point === 'after the reply' ? end() : posted
      }
      return wrap({ ...platform, post })
    },
  }
}

export interface Harness {
  discord: DiscordDouble
  bot: Bot
  folder: string
  /** Id of a user; `channel`: id of a channel of the server. */
  ann: string
  channel: string
  close(): Promise<void>
}

export async function openHarness(
  options: Omit<BotOptions, 'folder'> &
    Omit<DoubleOptions, 'endpoint'> & {
      /** Interactions arrive over HTTP, each delivered this many times. */
      deliveries?: number
    } = {},
): Promise<Harness> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-discord-'))
  let endpoint = async (_: Request): Promise<Response> => new Response(null, { status: 503 })
  const discord = await startDiscordDouble({
    ...options,
    endpoint: options.deliveries ? (request) => endpoint(request) : undefined,
  })
  const ann = discord.addUser('ann')
  const channel = discord.addChannel('pictures')
  const bot = await startBot(discord, { ...options, folder })
  if (options.deliveries) {
    const { processor, platform, preferences, reported } = bot
    const { publicKey } = discord
    const report = (error: unknown) => reported.push(error)
    const answer = discordEndpoint({
      publicKey,
      sink: processor,
      platform,
      preferences,
      messageContent: options.messageContent ?? true,
      report,
      sleep: () =>
        until(() => [...discord.world.interactions.values()].every(({ state }) => state !== 'new')),
    })
    endpoint = async (request) => {
      const repeated = Array.from({ length: options.deliveries! - 1 }, () => request.clone())
      const response = await answer(request)
      await Promise.all(repeated.map(answer))
      return response
    }
  }
  return {
    discord,
    bot,
    folder,
    ann,
    channel,
    async close() {
      await bot.close()
      await discord.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export function png(more: Partial<File> = {}): File {
  return { filename: 'apples.png', bytes: PNG, contentType: 'image/png', ...more }
}

/** Returns the bot's visible messages, without those that still show "is thinking...". */
export function repliesIn(discord: DiscordDouble, channel: string, viewer?: string): ReadMessage[] {
  return discord
    .read(channel, viewer)
    .filter(({ author, isThinking }) => author === discord.world.bot.username && !isThinking)
}

/** Waits for the reply to a message, or for the last reply. */
export async function reply(
  discord: DiscordDouble,
  channel: string,
  { to, viewer, count = 1 }: { to?: string; viewer?: string; count?: number } = {},
): Promise<ReadMessage> {
  return await until(() => {
    const replies = repliesIn(discord, channel, viewer)
    const found = to === undefined ? replies : replies.filter(({ replyTo }) => replyTo === to)
    return found.length >= count ? found.at(-1) : undefined
  })
}

/** Waits until all sent events are processed. For tests that something does not happen. */
export async function quiet(bot: Bot): Promise<void> {
  await bot.discord.eventsRead()
  await bot.gateway?.idle()
  await bot.processor.drained()
}
