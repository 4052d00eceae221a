// The persistent connection to Discord (gateway) -> events for discordEvents. @discordjs/ws connects, resumes and sends
// heartbeats. discord.js's own client is not used: it makes objects of every event, and one that it cannot parse would end
// the process. Replies are posted through the REST API, as without a gateway.

import { type SessionInfo, WebSocketManager, WebSocketShardEvents } from '@discordjs/ws'
import { DiscordAPIError, GatewayCloseCodes, GatewayIntentBits, PermissionFlagsBits } from 'discord.js'
import { z } from 'zod'
import { list } from '../chat/payload.ts'
import { SetupError, UpstreamError } from '../errors.ts'
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
})

/**
 * Resolves once connected. The commands are registered in the background.
 * @throws SetupError `discord_token`, `discord_intents`, `discord_gateway`; UpstreamError `discord_unreachable`
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

  const manager = openManager(settings)
  let closedFor: SetupError | undefined
  let isStarted = false
  let isStopping = false
  manager.on(WebSocketShardEvents.Dispatch, ({ data: { t, d } }) => {
    if (isStopping) return
    guilds.read(t, d)
    track(handle(t, d))
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
    bot = readySchema.safeParse(data).data
  })
  await manager.connect().catch((error: unknown) => {
    throw closedFor ?? loginError(error)
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
    /** Why Discord closed the connection for good: no event arrives until somebody mends it. */
    fault: () => closedFor,
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

function openManager(settings: DiscordSettings): WebSocketManager {
  const { GuildMessages, DirectMessages, Guilds, MessageContent } = GatewayIntentBits
  const intents = Guilds | GuildMessages | DirectMessages | (settings.messageContent ? MessageContent : 0)
  // By default all connections of a process share their sessions.
  const sessions = new Map<number, SessionInfo>()
  return new WebSocketManager({
    token: settings.token,
    intents,
    rest: discordRest(settings),
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
