// State of the Discord double: users, channels, messages, interactions. discord-api-types types the payloads, so that tests
// send the documented shapes.

import { createHmac } from 'node:crypto'
import { type APIAttachment, type APIMessage, type APIUser, ChannelType, MessageFlags } from 'discord.js'

export type Permission =
  | 'VIEW_CHANNEL'
  | 'SEND_MESSAGES'
  | 'READ_MESSAGE_HISTORY'
  | 'CREATE_PUBLIC_THREADS'
  | 'SEND_MESSAGES_IN_THREADS'

export interface Channel {
  id: string
  name: string
  type: ChannelType.GuildText | ChannelType.PublicThread | ChannelType.DM
  guild_id?: string
  parent_id?: string
  /** The other user of a direct message channel. */
  person?: APIUser
  messages: Stored[]
  /** Permissions that the bot lacks in it. */
  forbidden: Set<Permission>
}

export interface Stored {
  message: APIMessage
  /** Ephemeral: only this user sees it. */
  onlyFor?: string
  /** Notified users. */
  pinged: string[]
}

export interface StoredInteraction {
  id: string
  token: string
  user: string
  channel: string
  /** Time since it was created, in ms; only a test advances it. */
  ageMs: number
  state: 'new' | 'answered'
  /** Id of the message whose button was pressed. */
  component?: string
  /** The window that it was answered with. */
  modal?: Record<string, unknown>
  /** Id of its initial response. */
  original?: string
  /** Whether the 3 s have passed and Discord shows "did not respond". */
  failed: boolean
}

export interface File {
  filename: string
  bytes: Uint8Array
  contentType?: string
  spoiler?: boolean
  /** The address in the event has expired; a fresh one works. */
  expired?: boolean
}

export interface World {
  origin: string
  token: string
  bot: APIUser
  guild: { id: string; name: string; locale: string }
  /** The Message Content intent in the developer portal. */
  allowsMessageContent: boolean
  users: Map<string, APIUser>
  closedDirectMessages: Set<string>
  channels: Map<string, Channel>
  interactions: Map<string, StoredInteraction>
  files: Map<string, { file: File; id: string }>
  /** Whether the bot is in the server. Default: it is. */
  isInServer?: boolean
  /** For replays: every other path of the CDN and the media proxy is a file, by default this PNG, else by its path. */
  anyFile?: { content: Uint8Array; byPath: Record<string, string> }
  /** Downloaded files. */
  served: string[]
  commands: Record<string, unknown>[]
  commandPuts: number
  nonces: Map<string, string>
  typing: string[]
  snowflake(): string
  /** Sends an event to all connected clients. */
  dispatch(type: string, data: object): void
}

const DISCORD_EPOCH_MS = 1_420_070_400_000
const DAY_MS = 86_400_000

/** Returns a snowflake id: milliseconds since 2015, and a counter. */
export function snowflakes(): () => string {
  let counter = 0n
  return () => String((BigInt(Date.now() - DISCORD_EPOCH_MS) << 22n) + (counter++ & 0x3f_ffffn))
}

export function userOf(id: string, username: string, bot = false): APIUser {
  return { id, username, discriminator: '0', global_name: username, avatar: null, ...(bot ? { bot } : {}) }
}

/** Returns an attachment with a signed CDN address, as Discord does. */
export function attach(world: World, channel: string, file: File): APIAttachment {
  const id = world.snowflake()
  const name = file.spoiler ? `SPOILER_${file.filename}` : file.filename
  const path = `/attachments/${channel}/${id}/${name}`
  world.files.set(path, { file, id })
  const signed = signedPath(path, file.expired ? Date.now() - 60_000 : Date.now() + DAY_MS)
  return {
    id,
    filename: name,
    size: file.bytes.length,
    url: `${world.origin}${signed}`,
    proxy_url: `${world.origin}/media${signed}`,
    ...(file.contentType === undefined ? {} : { content_type: file.contentType }),
  }
}

export function signedPath(path: string, endsAt: number): string {
  const ex = Math.floor(endsAt / 1000).toString(16)
  return `${path}?ex=${ex}&is=${Math.floor(Date.now() / 1000).toString(16)}&hm=${signatureOf(path, ex)}`
}

export function signatureOf(path: string, ex: string): string {
  return createHmac('sha256', 'the CDN of the double').update(`${path} ${ex}`).digest('hex')
}

/** Returns a message as REST does, with fresh attachment addresses. */
export function fresh(world: World, message: APIMessage): APIMessage {
  const renewed = (attachment: APIAttachment): APIAttachment => {
    const signed = signedPath(new URL(attachment.url).pathname, Date.now() + DAY_MS)
    return { ...attachment, url: `${world.origin}${signed}`, proxy_url: `${world.origin}/media${signed}` }
  }
  return { ...message, attachments: message.attachments.map(renewed) }
}

/** Returns the message as an app without the Message Content intent receives it ("Gateway", "Message content intent"). */
export function withoutContent(world: World, message: APIMessage, isDirect: boolean): APIMessage {
  const isOurs = message.author.id === world.bot.id
  const mentionsUs = message.mentions.some(({ id }) => id === world.bot.id)
  const whole = isDirect || isOurs || mentionsUs
  const referenced = message.referenced_message
  return {
    ...message,
    ...(whole ? {} : { content: '', attachments: [], embeds: [], components: [] }),
    ...(whole || !message.message_snapshots ? {} : { message_snapshots: [] }),
    ...(referenced ? { referenced_message: withoutContent(world, referenced, isDirect) } : {}),
  }
}

export function isThread({ type }: Channel): boolean {
  return type === ChannelType.PublicThread
}

export function findMessage(world: World, channel: string, id: string): Stored | undefined {
  return world.channels.get(channel)?.messages.find(({ message }) => message.id === id)
}

/** Adds a message to its channel and dispatches the event. */
export function publish(world: World, stored: Stored): void {
  const channel = world.channels.get(stored.message.channel_id)!
  channel.messages.push(stored)
  // Ephemeral messages are not sent over the gateway.
  if (stored.onlyFor === undefined) world.dispatch('MESSAGE_CREATE', eventOf(channel, stored.message))
}

/** The extra fields of gateway events. */
export function eventOf(channel: Channel, message: APIMessage): object {
  const { guild_id, type } = channel
  const member = { roles: [], joined_at: '2026-01-01T00:00:00.000Z', deaf: false, mute: false, flags: 0 }
  return { ...message, channel_type: type, ...(guild_id === undefined ? {} : { guild_id, member }) }
}

export function isLoading({ flags }: APIMessage): boolean {
  return ((flags ?? 0) & MessageFlags.Loading) !== 0
}
