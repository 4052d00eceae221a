// Discord over its gateway: the connection stays open, messages and interactions come in as they happen.
//
// discord.js connects, resumes and keeps the connection alive. What comes is taken as it came (events.ts), and answered
// through the same API as without a gateway.

import { Client, Events, GatewayIntentBits, Options } from 'discord.js'
import { z } from 'zod'
import { type SetupError, UpstreamError } from '../errors.ts'
import { registerCommands } from './commands.ts'
import { discordEvents, type EventsOptions } from './events.ts'
import { closeCodeError, loginError } from './gateway-errors.ts'
import type { DiscordSettings } from './settings.ts'

export interface GatewayOptions extends Omit<EventsOptions, 'contextOf' | 'now' | 'messageContent'> {
  settings: DiscordSettings
  now?: () => number
}

export interface Gateway {
  /** The bot's user id. */
  readonly me: string
  /** Resolves when what came has been dealt with: questions are then at the desk. */
  idle(): Promise<void>
  /** Takes nothing more in and closes the connection; answers under way still get out. */
  stop(): Promise<void>
}

/** What discord.js would keep of people is not used here. */
const FEW = {
  maxSize: 200,
  keepOverLimit: ({ id, client }: { id: string; client: Client }) => id === client.user?.id,
}

const dispatchSchema = z.object({ t: z.string().nullish(), d: z.unknown() })
const readySchema = z.object({
  user: z.object({ id: z.string() }),
  application: z.object({ id: z.string() }).optional(),
})

/**
 * Resolves once connected, and tries until then; commands are registered beside.
 * @throws SetupError when Discord does not take the token or an intent; UpstreamError when it cannot be reached
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { settings, api, report, now = Date.now } = options
  const { messageContent } = settings
  const client = openClient(settings)
  const pending = new Set<Promise<void>>()
  const track = (work: Promise<unknown>) => {
    const tracked = work.then(() => {}, report).finally(() => pending.delete(tracked))
    pending.add(tracked)
  }

  let me = ''
  const handle = discordEvents({
    ...options,
    messageContent,
    now,
    contextOf: (channel = '', guild = '') => ({
      me,
      now: now(),
      messageContent,
      isThread: client.channels.cache.get(channel)?.isThread(),
      locale: client.guilds.cache.get(guild)?.preferredLocale,
    }),
  })
  let onReady = (_applicationId: string) => {}
  const ready = new Promise<string>((resolve) => {
    onReady = resolve
  })
  const dispatch = async (packet: unknown): Promise<void> => {
    const { t, d } = dispatchSchema.parse(packet)
    if (t === 'READY') {
      const { user, application } = readySchema.parse(d)
      me = user.id
      onReady(application?.id ?? user.id)
    } else if (t) await handle(t, d)
  }
  client.on(Events.Raw, (packet: unknown) => track(dispatch(packet)))

  let refused: SetupError | undefined
  let isStarted = false
  client.on(Events.ShardDisconnect, ({ code }) => {
    refused = closeCodeError(code)
    if (isStarted) report(refused)
  })
  client.on(Events.ShardError, ({ message }) => {
    if (!isStarted) return
    report(new UpstreamError('discord_gateway', `Expected the gateway to stay but: ${message}.`))
  })
  client.on(Events.Error, report)
  await client.login(settings.token).catch((error: unknown) => {
    throw refused ?? loginError(error)
  })
  const applicationId = await ready
  isStarted = true
  track(registerCommands(api, applicationId))

  const idle = async () => void (await Promise.allSettled(pending))
  return {
    me,
    idle,
    async stop() {
      client.removeAllListeners(Events.Raw)
      await idle()
      await client.destroy()
    },
  }
}

function openClient({ messageContent, apiUrl }: DiscordSettings): Client {
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
      GuildMemberManager: FEW,
      UserManager: FEW,
    }),
    ...(apiUrl === undefined ? {} : { rest: { api: apiUrl } }),
  })
}
