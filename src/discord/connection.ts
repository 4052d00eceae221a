// The persistent connection to Discord (gateway) -> events for discordEvents. discord.js connects, resumes and sends
// heartbeats. Replies are posted through the REST API, as without a gateway.

import {
  Client,
  DiscordjsErrorCodes,
  Events,
  GatewayCloseCodes,
  type GatewayDispatchPayload,
  GatewayIntentBits,
  Options,
} from 'discord.js'
import { SetupError, UpstreamError } from '../errors.ts'
import { invalidToken } from './api.ts'
import { registerCommands } from './commands.ts'
import { discordEvents, type EventsOptions } from './events.ts'
import type { DiscordSettings } from './settings.ts'

interface GatewayOptions extends Omit<EventsOptions, 'contextOf' | 'now' | 'messageContent'> {
  settings: DiscordSettings
  now?: () => number
}

export type Gateway = Awaited<ReturnType<typeof startGateway>>

/**
 * Resolves once connected. The commands are registered in the background.
 * @throws SetupError `discord_token`, `discord_intents`, `discord_gateway`; UpstreamError `discord_unreachable`
 */
export async function startGateway(options: GatewayOptions) {
  const { settings, api, report, now = Date.now } = options
  const { messageContent } = settings
  const client = openClient(settings)
  const pending = new Set<Promise<void>>()
  const track = (work: Promise<unknown>) => {
    const tracked = work.then(() => {}, report).finally(() => pending.delete(tracked))
    pending.add(tracked)
  }
  const handle = discordEvents({
    ...options,
    messageContent,
    now,
    contextOf: (channel, guild = '') => ({
      me: client.user!.id,
      now: now(),
      messageContent,
      isThread: client.channels.cache.get(channel)?.isThread(),
      locale: client.guilds.cache.get(guild)?.preferredLocale,
    }),
  })
  client.on(Events.Raw, ({ t, d }: GatewayDispatchPayload) => track(handle(t, d)))

  let refused: SetupError | undefined
  let isStarted = false
  client.on(Events.ShardDisconnect, ({ code }) => {
    refused = closeCodeError(code)
    if (isStarted) report(refused)
  })
  client.on(Events.ShardError, ({ message }) => {
    if (isStarted) report(new UpstreamError('discord_gateway', `The gateway connection failed (${message}).`))
  })
  client.on(Events.Error, report)
  const ready = new Promise<Client<true>>((resolve) => client.once(Events.ClientReady, resolve))
  await client.login(settings.token).catch((error: unknown) => {
    throw refused ?? loginError(error)
  })
  const { application } = await ready
  isStarted = true
  track(registerCommands(api, application.id))

  const idle = async () => void (await Promise.allSettled(pending))
  return {
    /** Resolves when all received events are handled: their questions are recorded. */
    idle,
    /** Handles no further events and closes the connection. Replies in progress are still posted. */
    async stop(): Promise<void> {
      client.removeAllListeners(Events.Raw)
      await idle()
      await client.destroy()
    },
  }
}

function openClient({ messageContent, apiUrl }: DiscordSettings): Client {
  // Glimpse reads no cached people; discord.js needs the bot itself.
  const people = {
    maxSize: 200,
    keepOverLimit: ({ id, client }: { id: string; client: Client }) => id === client.user?.id,
  }
  return new Client({
    intents: [
      GatewayIntentBits.Guilds,
      GatewayIntentBits.GuildMessages,
      GatewayIntentBits.DirectMessages,
      ...(messageContent ? [GatewayIntentBits.MessageContent] : []),
    ],
    makeCache: Options.cacheWithLimits({
      ...Options.DefaultMakeCacheSettings,
      MessageManager: 0,
      GuildMemberManager: people,
      UserManager: people,
    }),
    ...(apiUrl === undefined ? {} : { rest: { api: apiUrl } }),
  })
}

/** Close codes after which discord.js does not reconnect (topic "Opcodes and status codes"). */
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
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (code === DiscordjsErrorCodes.TokenInvalid) return invalidToken()
  return new UpstreamError('discord_unreachable', `Discord cannot be reached (${message}). Retry later.`, {
    cause: new Error(String(message)),
  })
}
