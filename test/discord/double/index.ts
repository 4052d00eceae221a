// A double of Discord for tests and the demo, on this machine: gateway, REST, CDN and interactions, after docs.discord.com
// and discord-api-types. The unmodified discord.js connects to it. It refuses requests that Discord refuses.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type APIMessage, type APIUser, ChannelType, MessageReferenceType, MessageType } from 'discord.js'
import { openSocket } from './gateway.ts'
import { takeCallback } from './interactions.ts'
import { type Invocation, interactionPayload } from './invoke.ts'
import { directOf, forget, openThread, Refused, route, serveFile } from './rest.ts'
import {
  attach,
  type Channel,
  eventOf,
  type File,
  findMessage,
  isLoading,
  isThread,
  type Permission,
  publish,
  type StoredInteraction,
  snowflakes,
  userOf,
  type World,
} from './state.ts'

export interface DoubleOptions {
  /** The Message Content intent in the developer portal. Default: on. */
  allowsMessageContent?: boolean
  /** Locale of the server. Default en-US. */
  locale?: string
  /** Receives interactions, signed, instead of the gateway. */
  endpoint?: (request: Request) => Promise<Response>
}

/** A fault of the next `times` (1) matching calls. */
export interface Fault {
  /** Matched against `POST /channels/123/messages`. */
  on: RegExp
  times?: number
  /** Number of matching calls that succeed before. */
  skip?: number
  status?: number
  /** Discord's error code. Default 0: a response of a proxy. */
  code?: number
  /** For status 429. */
  retryAfterS?: number
  /** The call waits for this. */
  after?: Promise<unknown>
  /** The call takes effect, but its response is lost. */
  isLost?: boolean
}

export interface SaidMessage {
  content?: string
  files?: File[]
  replyTo?: string
  /** Whether a reply mentions the author of the message. Default: on, as in Discord's client. */
  ping?: boolean
  /** Id of a forwarded message. */
  forward?: string
  webhook?: boolean
  mentionsEveryone?: boolean
  /** Holds the event back; the test dispatches it. */
  isSilent?: boolean
}

/** A message as a reader of the channel sees it. */
export interface ReadMessage {
  id: string
  author: string
  content: string
  files: string[]
  replyTo?: string
  isEphemeral: boolean
  isThinking: boolean
  /** The thread started from the message. */
  thread?: string
  pinged: string[]
}

export interface DiscordDouble {
  /** For `apiUrl` of the settings. */
  apiUrl: string
  token: string
  publicKey: string
  privateKey: KeyObject
  botId: string
  guildId: string
  /** REST calls in order: `POST /channels/123/messages`. */
  calls: string[]
  world: World
  connections: { identified: number; resumed: number }
  addChannel(name: string, forbidden?: Permission[]): string
  addUser(name: string, bot?: boolean): string
  direct(user: string): string
  addThread(channel: string, message: string, name?: string): string
  forbid(channel: string, ...permissions: Permission[]): void
  /** Posts a message as a user. Returns its id. */
  say(user: string, channel: string, said: SaidMessage): string
  /** Adds files to a message by an edit, which Discord allows bots. */
  addFiles(channel: string, message: string, files: File[]): void
  deleteMessage(channel: string, ...messages: string[]): void
  /** Uses a command, or an entry of a message's menu, as a user. */
  invoke(user: string, channel: string, invocation: Invocation): Promise<StoredInteraction>
  /** Creates the interaction without sending it; the test sends it. */
  prepare(
    user: string,
    channel: string,
    invocation: Invocation,
  ): { interaction: StoredInteraction; payload: object }
  acknowledge(interaction: StoredInteraction): void
  /** Returns the gateway event of a message. */
  eventOf(channel: string, message: string): object
  dispatch(type: string, data: object): void
  /** Sends any value as an event. */
  dispatchRaw(type: string, data: unknown): void
  /** Sends a text to all connections as it is. */
  sendText(text: string): void
  /** Texts that the next connections get in place of HELLO. */
  greetings: string[]
  /** Returns the messages that a person sees in a channel, ephemeral ones for them included. Empty for an unknown channel. */
  read(channel: string, viewer?: string): ReadMessage[]
  fault(fault: Fault): void
  /** Resolves when the bot has read all dispatched events. */
  eventsRead(): Promise<void>
  drop(): void
  /** Closes the gateway's connections with a close code. */
  closeWith(code: number): void
  close(): Promise<void>
}

export async function startDiscordDouble(options: DoubleOptions = {}): Promise<DiscordDouble> {
  const snowflake = snowflakes()
  const faults: Fault[] = []
  const calls: string[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://double')
    if (!url.pathname.startsWith('/api/')) return serveFile(world, request, response, url)
    answerApi(request, url).then(
      ({ status, body, headers = {} }) => {
        const type = body === undefined ? {} : { 'content-type': 'application/json' }
        response.writeHead(status, { ...type, ...headers })
        response.end(body === undefined ? undefined : JSON.stringify(body))
      },
      () => response.destroy(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')

  const world: World = {
    origin,
    token: 'the.double.token',
    bot: userOf(snowflake(), 'Glimpse', true),
    guild: { id: snowflake(), name: 'Aquarium', locale: options.locale ?? 'en-US' },
    allowsMessageContent: options.allowsMessageContent ?? true,
    users: new Map(),
    closedDirectMessages: new Set(),
    channels: new Map(),
    interactions: new Map(),
    files: new Map(),
    served: [],
    commands: [],
    commandPuts: 0,
    nonces: new Map(),
    typing: [],
    snowflake,
    dispatch: (type, data) => socket.dispatch(type, data),
  }
  world.users.set(world.bot.id, world.bot)
  const socket = openSocket(server, world)

  async function answerApi(request: IncomingMessage, url: URL): Promise<Answer> {
    const path = url.pathname.replace(/^\/api(\/v\d+)?/, '')
    const call = `${request.method} ${path}`
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const raw = Buffer.concat(chunks).toString()
    calls.push(call)
    const fitting = faults.find((each) => (each.times ?? 1) > 0 && each.on.test(call))
    const isSkipped = (fitting?.skip ?? 0) > 0
    if (fitting && isSkipped) fitting.skip = fitting.skip! - 1
    else if (fitting) fitting.times = (fitting.times ?? 1) - 1
    const fault = isSkipped ? undefined : fitting
    await fault?.after
    if (fault?.status && !fault.isLost) return faulty(fault)
    const asked = {
      method: request.method!,
      path,
      query: url.searchParams,
      body: raw === '' ? {} : JSON.parse(raw),
      isBot: request.headers.authorization === `Bot ${world.token}`,
    }
    try {
      const body = route(world, asked)
      if (fault?.isLost) throw new Error('The answer is lost.')
      return { status: body === undefined ? 204 : 200, body }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      return { status: error.status, body: { code: error.code, message: error.message } }
    }
  }

  const channelOf = (id: string): Channel => {
    const channel = world.channels.get(id)
    if (!channel) throw new Error(`Expected a channel of the double but got ${id}.`)
    return channel
  }
  const addChannel = (name: string, forbidden: Permission[] = []): string => {
    const id = snowflake()
    const guild_id = world.guild.id
    const channel: Channel = {
      id,
      name,
      type: ChannelType.GuildText,
      guild_id,
      messages: [],
      forbidden: new Set(forbidden),
    }
    world.channels.set(id, channel)
    socket.dispatch('CHANNEL_CREATE', { id, name, type: channel.type, guild_id, permission_overwrites: [] })
    return id
  }

  const say = (user: string, channelId: string, said: SaidMessage): string => {
    const channel = channelOf(channelId)
    const message = saidMessage(world, world.users.get(user)!, channel, said)
    if (said.isSilent) channel.messages.push({ message, pinged: [] })
    else publish(world, { message, pinged: [] })
    return message.id
  }

  const prepare = (user: string, channelId: string, invocation: Invocation) => {
    const prepared = interactionPayload(world, user, channelOf(channelId), invocation)
    world.interactions.set(prepared.interaction.token, prepared.interaction)
    return prepared
  }
  const invoke = async (user: string, channelId: string, invocation: Invocation) => {
    const { interaction, payload } = prepare(user, channelId, invocation)
    if (!options.endpoint) {
      socket.dispatch('INTERACTION_CREATE', payload)
      return interaction
    }
    const response = await options.endpoint(signedRequest(privateKey, payload))
    if (response.status !== 200) throw new Error(`The endpoint answered ${response.status}.`)
    takeCallback(world, interaction.id, interaction.token, (await response.json()) as Record<string, unknown>)
    return interaction
  }

  return {
    apiUrl: `${origin}/api`,
    token: world.token,
    publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('hex'),
    privateKey,
    botId: world.bot.id,
    guildId: world.guild.id,
    calls,
    world,
    connections: socket.counts,
    addChannel,
    addUser(name, bot) {
      const user = userOf(snowflake(), name, bot)
      world.users.set(user.id, user)
      return user.id
    },
    direct: (user) => directOf(world, user).id,
    addThread(channel, message, name = 'A thread') {
      openThread(world, channelOf(channel), message, name)
      return message
    },
    forbid(channel, ...permissions) {
      for (const permission of permissions) channelOf(channel).forbidden.add(permission)
    },
    say,
    addFiles(channelId, id, files) {
      const channel = channelOf(channelId)
      const { message } = findMessage(world, channelId, id)!
      message.attachments.push(...files.map((file) => attach(world, channelId, file)))
      message.edited_timestamp = new Date().toISOString()
      socket.dispatch('MESSAGE_UPDATE', eventOf(channel, message))
    },
    deleteMessage(channelId, ...ids) {
      const channel = channelOf(channelId)
      if (ids.length === 1) return forget(world, channel, ids[0]!)
      channel.messages = channel.messages.filter(({ message }) => !ids.includes(message.id))
      socket.dispatch('MESSAGE_DELETE_BULK', { ids, channel_id: channelId, guild_id: channel.guild_id })
    },
    invoke,
    prepare,
    acknowledge: ({ id, token }) => takeCallback(world, id, token, { type: 5 }),
    eventOf: (channel, id) => eventOf(channelOf(channel), findMessage(world, channel, id)!.message),
    dispatch: socket.dispatch,
    dispatchRaw: socket.dispatchRaw,
    sendText: socket.sendText,
    greetings: socket.greetings,
    read: (id, viewer) => {
      const channel = world.channels.get(id)
      return channel ? readChannel(world, channel, viewer) : []
    },
    fault: (fault) => faults.push(fault),
    eventsRead: socket.read,
    drop: socket.drop,
    closeWith: socket.closeWith,
    async close() {
      socket.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Signs a request to an endpoint as Discord does. */
export function signedRequest(
  key: KeyObject,
  payload: unknown,
  timestampS = Math.floor(Date.now() / 1000),
): Request {
  const body = typeof payload === 'string' ? payload : JSON.stringify(payload)
  const signature = sign(null, Buffer.from(`${timestampS}${body}`), key).toString('hex')
  return new Request('http://glimpse.test/discord/interactions', {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-signature-ed25519': signature,
      'x-signature-timestamp': String(timestampS),
    },
    body,
  })
}

interface Answer {
  status: number
  body: unknown
  headers?: Record<string, string>
}

function faulty({ status, code = 0, retryAfterS }: Fault): Answer {
  if (status !== 429) return { status: status!, body: { message: 'Trouble', code } }
  return {
    status: 429,
    body: { message: 'You are being rate limited.', retry_after: retryAfterS, global: false },
    headers: { 'retry-after': String(retryAfterS) },
  }
}

function saidMessage(world: World, author: APIUser, channel: Channel, said: SaidMessage): APIMessage {
  const { content = '', files = [], replyTo, forward, ping = true } = said
  const replied = replyTo === undefined ? undefined : findMessage(world, channel.id, replyTo)?.message
  const forwarded = [...world.channels.values()]
    .flatMap(({ messages }) => messages)
    .find(({ message }) => message.id === forward)?.message
  const named = [...content.matchAll(/<@!?(\d+)>/g)].flatMap(([, id]) => world.users.get(id!) ?? [])
  const mentions = new Map(named.map((user) => [user.id, user]))
  if (replied && ping) mentions.set(replied.author.id, replied.author)
  return {
    id: world.snowflake(),
    channel_id: channel.id,
    author,
    content,
    timestamp: new Date().toISOString(),
    edited_timestamp: null,
    tts: false,
    mention_everyone: said.mentionsEveryone ?? false,
    mentions: [...mentions.values()],
    mention_roles: [],
    attachments: files.map((file) => attach(world, channel.id, file)),
    embeds: [],
    components: [],
    pinned: false,
    type: replyTo === undefined ? MessageType.Default : MessageType.Reply,
    ...(said.webhook ? { webhook_id: world.snowflake() } : {}),
    ...(replyTo === undefined
      ? {}
      : {
          message_reference: {
            type: MessageReferenceType.Default,
            channel_id: channel.id,
            message_id: replyTo,
          },
          referenced_message: replied ?? null,
        }),
    ...(forwarded
      ? {
          message_reference: {
            type: MessageReferenceType.Forward,
            channel_id: forwarded.channel_id,
            message_id: forwarded.id,
          },
          message_snapshots: [{ message: forwarded }],
        }
      : {}),
  }
}

function readChannel(world: World, channel: Channel, viewer?: string): ReadMessage[] {
  return channel.messages
    .filter(({ onlyFor }) => onlyFor === undefined || onlyFor === viewer)
    .map(({ message, onlyFor, pinged }) => ({
      id: message.id,
      author: message.author.username,
      content: message.content,
      files: message.attachments.map(({ filename }) => filename),
      replyTo: message.message_reference?.message_id,
      isEphemeral: onlyFor !== undefined,
      isThinking: isLoading(message),
      thread: !isThread(channel) && world.channels.has(message.id) ? message.id : undefined,
      pinged,
    }))
}
