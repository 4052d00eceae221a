// The persistent connection to Discord (gateway) -> events for discordEvents. @discordjs/ws connects, resumes and sends
// heartbeats. discord.js's own client is not used: it makes objects of every event, and one that it cannot parse would end
// the process. @discordjs/ws reads three kinds of payloads without checking them; they are checked before it does (`guarded`).
// Replies are posted through the REST API, as without a gateway.

import { setTimeout as wait } from 'node:timers/promises'
import {
  type SessionInfo,
  SimpleShardingStrategy,
  WebSocketManager,
  WebSocketShardDestroyRecovery,
  WebSocketShardEvents,
} from '@discordjs/ws'
import {
  DiscordAPIError,
  GatewayCloseCodes,
  GatewayDispatchEvents,
  GatewayIntentBits,
  GatewayOpcodes,
  PermissionFlagsBits,
} from 'discord.js'
import { z } from 'zod'
import { list, maybe } from '../chat/payload.ts'
import { withResolvers } from '../concurrency.ts'
import { isGlimpseError, SetupError, UpstreamError } from '../errors.ts'
import { discordRest, invalidToken } from './api.ts'
import { registerCommands } from './commands.ts'
import { discordEvents, type EventsOptions } from './events.ts'
import { openGuilds } from './guilds.ts'
import { identifiedSchema, parsePayload } from './payloads.ts'
import type { DiscordSettings } from './settings.ts'

interface GatewayOptions extends Omit<EventsOptions, 'contextOf' | 'now' | 'messageContent'> {
  settings: DiscordSettings
  now?: () => number
}

export type Gateway = Awaited<ReturnType<typeof startGateway>>

/** Close codes after which a new connection with the same settings is refused (topic "Opcodes and status codes"). */
const FATAL_CODES: ReadonlySet<number> = new Set([
  GatewayCloseCodes.AuthenticationFailed,
  GatewayCloseCodes.InvalidShard,
  GatewayCloseCodes.ShardingRequired,
  GatewayCloseCodes.InvalidAPIVersion,
  GatewayCloseCodes.InvalidIntents,
  GatewayCloseCodes.DisallowedIntents,
])

const readySchema = z.object({
  user: identifiedSchema,
  application: identifiedSchema,
  guilds: list(identifiedSchema),
  session_id: maybe(z.string()),
  resume_gateway_url: z.url({ protocol: /^wss?$/ }).nullish(),
})
/** A longer interval of a timer counts as 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** What @discordjs/ws reads of a payload, by its `op` and, for a dispatch, its `t`. It ignores all others. */
const READ_UNCHECKED: Record<string, { what: string; schema: z.ZodType }> = {
  [`${GatewayOpcodes.Hello}`]: {
    what: 'the HELLO payload',
    schema: z.object({ heartbeat_interval: z.number().positive().max(MAX_TIMER_MS) }),
  },
  [`${GatewayOpcodes.InvalidSession}`]: { what: 'the Invalid Session payload', schema: z.boolean() },
  [`${GatewayOpcodes.Dispatch}/${GatewayDispatchEvents.Ready}`]: {
    what: 'the READY event',
    schema: readySchema,
  },
}
const payloadSchema = z.object({ op: z.number(), t: z.string().nullish(), d: z.unknown() })
/** Pauses of 0, 2, 4, ... 300, 300 s before a connection after a payload that cannot be read: Discord resets a token with 1,000 identifies a day. */
const LONGEST_PAUSE_MS = 300_000

/**
 * Resolves once connected. The commands are registered in the background.
 * @throws SetupError `discord_token`, `discord_intents`, `discord_gateway`; UpstreamError `discord_unreachable`,
 * `discord_payload`
 */
export async function startGateway(options: GatewayOptions) {
  const { settings, api, report, now = Date.now } = options
  const { messageContent } = settings
  const pending = new Set<Promise<void>>()
  const track = (work: Promise<unknown>) => {
    const tracked = work.then(() => {}, report).finally(() => pending.delete(tracked))
    pending.add(tracked)
  }
  let bot: z.infer<typeof readySchema> | undefined
  const me = () => bot?.user.id ?? ''
  const guilds = openGuilds(me)
  const handle = discordEvents({
    ...options,
    messageContent,
    now,
    contextOf(channel, guildId) {
      const { locale, role } = guilds.guild(guildId)
      return { me: me(), now: now(), messageContent, isThread: guilds.isThread(channel), locale, role }
    },
  })

  let closedFor: SetupError | undefined
  /** Until a connection is ready again. */
  let unreadable: Error | undefined
  let failures = 0
  let isStarted = false
  let isStopping = false
  const start = withResolvers<never>()
  const manager = openManager(settings, {
    onUnreadable(error) {
      unreadable = error
      failures++
      if (isStarted) report(error)
      else start.reject(error)
    },
    pauseMs: () => (failures < 2 ? 0 : Math.min(1_000 * 2 ** (failures - 1), LONGEST_PAUSE_MS)),
    isOver: () => isStopping,
  })
  const onReady = () => {
    unreadable = undefined
    failures = 0
  }
  manager.on(WebSocketShardEvents.Resumed, onReady)
  manager.on(WebSocketShardEvents.Dispatch, ({ data: { t, d } }) => {
    if (isStopping) return
    track(
      Promise.resolve()
        .then(() => guilds.read(t, d))
        .then(() => handle(t, d)),
    )
  })
  manager.on(WebSocketShardEvents.Closed, ({ code }) => {
    if (!FATAL_CODES.has(code)) return
    closedFor = closeCodeError(code)
    if (isStarted) report(closedFor)
  })
  manager.on(WebSocketShardEvents.Error, ({ error: { message } }) => {
    if (!isStarted || closedFor) return
    report(new UpstreamError('discord_gateway', `The gateway connection failed (${message}).`))
  })
  manager.on(WebSocketShardEvents.Ready, ({ data }) => {
    bot = readySchema.parse(data)
    onReady()
  })
  await Promise.race([manager.connect(), start.promise]).catch(async (error: unknown) => {
    // It would connect again by itself.
    isStopping = true
    await manager.destroy()
    throw closedFor ?? unreadable ?? loginError(error)
  })
  const { application, guilds: joined } = parsePayload(readySchema, bot, 'the READY event')
  isStarted = true
  track(registerCommands(api, application.id))

  const idle = async () => void (await Promise.allSettled(pending))
  return {
    /** Resolves when all received events are handled: their questions are recorded. */
    idle,
    /** How to add the bot to a server, when it is in none. */
    hint: () =>
      joined.length > 0
        ? undefined
        : `The Discord bot is in no server yet. Add it: ${inviteUrl(application.id)}`,
    /** Why no event arrives: Discord closed the connection for good, or sends what cannot be read. */
    fault: () => closedFor ?? unreadable,
    /** Handles no further events and closes the connection. Replies in progress are still posted. */
    async stop(): Promise<void> {
      isStopping = true
      await idle()
      await manager.destroy()
    },
  }
}

/** Opens Discord's dialog that adds the bot to a server, with the permissions that README.md names. */
function inviteUrl(application: string): string {
  const { CreatePublicThreads, ReadMessageHistory, SendMessages, SendMessagesInThreads, ViewChannel } =
    PermissionFlagsBits
  const permissions =
    ViewChannel | SendMessages | SendMessagesInThreads | CreatePublicThreads | ReadMessageHistory
  const query = { client_id: application, scope: 'bot applications.commands', permissions: `${permissions}` }
  return `https://discord.com/oauth2/authorize?${new URLSearchParams(query)}`
}

interface Guard {
  /** Called with an error that names the payload, and contains no value of it. The connection is opened anew. */
  onUnreadable: (error: Error) => void
  /** How long to wait before that. */
  pauseMs: () => number
  /** Whether to connect no more. */
  isOver: () => boolean
}

/** The methods of a shard that nobody awaits: a failure of one would end the process. */
interface Shard {
  unpackMessage(...message: unknown[]): Promise<unknown>
  onMessage(...message: unknown[]): Promise<void>
  internalConnect(): Promise<void>
  destroy(options: object): Promise<void>
}

function guarded(manager: WebSocketManager, guard: Guard): SimpleShardingStrategy {
  const strategy = new SimpleShardingStrategy(manager)
  const spawn = strategy.spawn.bind(strategy)
  strategy.spawn = async (ids) => {
    await spawn(ids)
    const { shards } = strategy as unknown as { shards: Map<number, Shard> }
    for (const shard of shards.values()) guardShard(shard, guard)
  }
  return strategy
}

function guardShard(shard: Shard, { onUnreadable, pauseMs, isOver }: Guard): void {
  const unpack = shard.unpackMessage.bind(shard)
  const read = shard.onMessage.bind(shard)
  const connect = shard.internalConnect.bind(shard)
  const anew = { reason: 'Unreadable payload', recover: WebSocketShardDestroyRecovery.Reconnect }
  const failed = (error: unknown) => onUnreadable(unreadablePayload(error))
  Object.assign(shard, {
    async unpackMessage(...message: unknown[]) {
      const payload = await unpack(...message)
      const { op, t, d } = payloadSchema.safeParse(payload).data ?? {}
      const key = op === GatewayOpcodes.Dispatch ? `${op}/${t}` : `${op}`
      const read = Object.hasOwn(READ_UNCHECKED, key) ? READ_UNCHECKED[key] : undefined
      if (read) parsePayload(read.schema, d, read.what)
      return payload
    },
    async onMessage(...message: unknown[]) {
      await read(...message).catch(async (error: unknown) => {
        failed(error)
        await shard.destroy(anew)
      })
    },
    async internalConnect() {
      await wait(pauseMs(), undefined, { ref: false })
      if (!isOver()) await connect().catch(failed)
    },
  } satisfies Partial<Shard>)
}

function unreadablePayload(error: unknown): Error {
  if (isGlimpseError(error)) return error
  const why = error instanceof Error ? error.message : String(error)
  return new UpstreamError('discord_payload', `A payload of Discord's gateway cannot be read (${why}).`)
}

function openManager(settings: DiscordSettings, guard: Guard): WebSocketManager {
  const { GuildMessages, DirectMessages, Guilds, MessageContent } = GatewayIntentBits
  const intents = Guilds | GuildMessages | DirectMessages | (settings.messageContent ? MessageContent : 0)
  // By default all connections of a process share their sessions.
  const sessions = new Map<number, SessionInfo>()
  return new WebSocketManager({
    token: settings.token,
    intents,
    rest: discordRest(settings),
    buildStrategy: (manager) => guarded(manager, guard),
    retrieveSessionInfo: (shard) => sessions.get(shard) ?? null,
    updateSessionInfo(shard, session) {
      if (session) sessions.set(shard, session)
      else sessions.delete(shard)
    },
  })
}

function closeCodeError(code: number): SetupError {
  switch (code) {
    case GatewayCloseCodes.AuthenticationFailed:
      return invalidToken()
    case GatewayCloseCodes.DisallowedIntents:
      return new SetupError(
        'discord_intents',
        'Discord refused the Message Content intent (4014). Switch it on at ' +
          'https://discord.com/developers/applications (your application, Bot, Privileged Gateway Intents), or set ' +
          'GLIMPSE_DISCORD_MESSAGE_CONTENT=off: the bot then answers mentions, replies to it and commands.',
      )
    default:
      return new SetupError(
        'discord_gateway',
        `Discord closed the gateway connection (${code}). The code is explained at ` +
          'https://discord.com/developers/docs/topics/opcodes-and-status-codes.',
      )
  }
}

/** Keeps only the message of the cause: errors of discord.js contain the request, and so the token. */
function loginError(error: unknown): Error {
  if (error instanceof DiscordAPIError && error.status === 401) return invalidToken()
  const why = error instanceof Error ? error.message : String(error)
  return new UpstreamError('discord_unreachable', `Discord cannot be reached (${why}). Retry later.`, {
    cause: new Error(why),
  })
}
