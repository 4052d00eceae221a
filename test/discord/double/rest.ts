// The Discord double's REST API and CDN: routes of discord-api-types v10, with Discord's limits enforced as errors.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { type APIMessage, ChannelType, MessageFlags, MessageReferenceType, MessageType } from 'discord.js'
import { answerOriginal, answerWebhook, takeCallback } from './interactions.ts'
import {
  type Channel,
  findMessage,
  fresh,
  isThread,
  type Permission,
  publish,
  type Stored,
  signatureOf,
  type World,
  withoutContent,
} from './state.ts'

/** An error response of Discord. */
export class Refused extends Error {
  readonly status: number
  readonly code: number

  constructor(status: number, code: number, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export type Body = Record<string, unknown>
export interface Asked {
  method: string
  path: string
  query: URLSearchParams
  body: Body
  /** Whether the request has the bot's token. */
  isBot: boolean
}

const MAX_CHARACTERS = 2_000
const MAX_NONCE = 25

/** Returns the response body; undefined is 204. @throws Refused */
export function route(world: World, asked: Asked): unknown {
  const { method, path } = asked
  const parts = path.split('/').slice(1)
  const [first, a = '', second, b = '', third] = parts
  // Addresses that hold a token of their own need no bot: a token sent to them is one given away.
  if ((first === 'interactions' || first === 'webhooks') && asked.isBot) {
    throw new Refused(400, 0, 'A bot token was sent to an address that needs none.')
  }
  if (first === 'interactions' && third === undefined && second !== undefined) {
    return takeCallback(world, a, second, asked.body)
  }
  if (first === 'webhooks' && parts[3] === 'messages')
    return answerOriginal(world, asked, parts[2]!, parts[4]!)
  if (first === 'webhooks') return answerWebhook(world, asked, parts[2]!)
  if (!asked.isBot) throw new Refused(401, 0, '401: Unauthorized')

  switch (`${method} ${path.replace(/\d{15,}/g, ':id')}`) {
    case 'GET /gateway/bot':
      return {
        url: world.origin.replace('http', 'ws'),
        shards: 1,
        session_start_limit: { total: 1000, remaining: 1000, reset_after: 0, max_concurrency: 1 },
      }
    case 'GET /users/@me':
      return world.bot
    case 'POST /users/@me/channels':
      return openDirect(world, String(asked.body['recipient_id']))
    case 'PUT /applications/:id/commands':
      world.commandPuts++
      world.commands = (asked.body as unknown as Body[]).map((command) => ({
        // Discord adds ids and defaults.
        ...command,
        id: world.snowflake(),
        application_id: world.bot.id,
        version: world.snowflake(),
        default_member_permissions: command['default_member_permissions'] ?? null,
        nsfw: false,
        description: command['description'] ?? '',
      }))
      return world.commands
    case 'GET /channels/:id': {
      const { messages: _, forbidden: __, person: ___, ...channel } = channelOf(world, a)
      return channel
    }
    case 'POST /channels/:id/typing':
      allow(channelOf(world, a), 'SEND_MESSAGES')
      world.typing.push(a)
      return undefined
    case 'GET /channels/:id/messages':
      return listMessages(world, channelOf(world, a), asked.query)
    case 'POST /channels/:id/messages':
      return createMessage(world, channelOf(world, a), asked.body)
    case 'GET /channels/:id/messages/:id':
      return readMessage(world, channelOf(world, a), b)
    case 'DELETE /channels/:id/messages/:id':
      return deleteMessage(world, channelOf(world, a), b)
    case 'POST /channels/:id/messages/:id/threads':
      return createThread(world, channelOf(world, a), b, asked.body)
    default:
      throw new Refused(404, 0, '404: Not Found')
  }
}

function channelOf(world: World, id: string): Channel {
  const channel = world.channels.get(id)
  if (!channel) throw new Refused(404, 10_003, 'Unknown Channel')
  allow(channel, 'VIEW_CHANNEL')
  return channel
}

function allow(channel: Channel, permission: Permission): void {
  // Threads have a separate permission ("Threads", "Permissions").
  const needed = permission === 'SEND_MESSAGES' && isThread(channel) ? 'SEND_MESSAGES_IN_THREADS' : permission
  if (!channel.forbidden.has(needed)) return
  if (needed === 'VIEW_CHANNEL') throw new Refused(403, 50_001, 'Missing Access')
  throw new Refused(403, 50_013, 'Missing Permissions')
}

/** @throws Refused for an invalid form body */
export function checkContent(body: Body): string {
  const content = body['content'] ?? ''
  if (typeof content !== 'string') throw new Refused(400, 50_035, 'Invalid Form Body')
  if ([...content].length > MAX_CHARACTERS) throw new Refused(400, 50_035, 'Invalid Form Body')
  if (content.trim() === '') throw new Refused(400, 50_006, 'Cannot send an empty message')
  return content
}

/** @throws Refused for flags that this call may not set */
export function checkFlags(body: Body, allowed: number): void {
  if ((Number(body['flags'] ?? 0) & ~allowed) !== 0) throw new Refused(400, 50_035, 'Invalid Form Body')
}

function createMessage(world: World, channel: Channel, body: Body): APIMessage {
  allow(channel, 'SEND_MESSAGES')
  if (channel.person && world.closedDirectMessages.has(channel.person.id)) {
    throw new Refused(403, 50_007, 'Cannot send messages to this user')
  }
  const content = checkContent(body)
  const { nonce } = body
  if (nonce !== undefined && String(nonce).length > MAX_NONCE)
    throw new Refused(400, 50_035, 'Invalid Form Body')
  const known = body['enforce_nonce'] === true && nonce !== undefined && world.nonces.get(String(nonce))
  if (known) {
    const [channelId, id] = known.split('/')
    const posted = findMessage(world, channelId!, id!)
    if (posted) return posted.message
  }
  const reference = body['message_reference'] as
    | { message_id?: string; fail_if_not_exists?: boolean }
    | undefined
  if (reference) {
    if (channel.forbidden.has('READ_MESSAGE_HISTORY')) {
      throw new Refused(400, 160_002, 'Cannot reply without permission to read message history')
    }
    if (
      !findMessage(world, channel.id, reference.message_id ?? '') &&
      reference.fail_if_not_exists !== false
    ) {
      throw new Refused(400, 50_035, 'Invalid Form Body')
    }
  }
  checkFlags(body, MessageFlags.SuppressEmbeds | MessageFlags.SuppressNotifications)
  const replied = reference && findMessage(world, channel.id, reference.message_id ?? '')
  const stored: Stored = {
    message: {
      ...messageOf(world, channel.id, content, replied?.message, Number(body['flags'] ?? 0)),
      components: (body['components'] ?? []) as never,
    },
    pinged: pingedBy(body, content, replied?.message.author.id),
  }
  if (nonce !== undefined) world.nonces.set(String(nonce), `${channel.id}/${stored.message.id}`)
  publish(world, stored)
  return { ...stored.message, ...(nonce === undefined ? {} : { nonce: String(nonce) }) }
}

/** Creates a message by the bot. */
export function messageOf(
  world: World,
  channel: string,
  content: string,
  replied?: APIMessage,
  flags = 0,
): APIMessage {
  return {
    id: world.snowflake(),
    channel_id: channel,
    author: world.bot,
    content,
    timestamp: new Date().toISOString(),
    edited_timestamp: null,
    tts: false,
    mention_everyone: false,
    mentions: [],
    mention_roles: [],
    attachments: [],
    embeds: [],
    components: [],
    pinned: false,
    flags: flags as MessageFlags,
    type: replied ? MessageType.Reply : MessageType.Default,
    ...(replied
      ? {
          message_reference: {
            type: MessageReferenceType.Default,
            channel_id: channel,
            message_id: replied.id,
          },
          referenced_message: replied,
        }
      : {}),
  }
}

/** Returns the notified users. Without allowed_mentions these are all mentioned users and the author replied to. */
export function pingedBy(body: Body, content: string, replied?: string): string[] {
  const allowed = body['allowed_mentions'] as { parse?: string[]; replied_user?: boolean } | undefined
  const named = [...content.matchAll(/<@!?(\d+)>|@(everyone|here)/g)].map(([, id, all]) => id ?? all!)
  const pinged = !allowed || (allowed.parse ?? []).length > 0 ? named : []
  const pingsAuthor = replied !== undefined && (!allowed || allowed.replied_user === true)
  return pingsAuthor ? [...pinged, replied] : pinged
}

function listMessages(world: World, channel: Channel, query: URLSearchParams): APIMessage[] {
  // Without the history permission Discord returns an empty list.
  if (channel.forbidden.has('READ_MESSAGE_HISTORY')) return []
  const after = BigInt(query.get('after') ?? 0)
  const limit = Number(query.get('limit') ?? 50)
  return channel.messages
    .filter(({ message, onlyFor }) => onlyFor === undefined && BigInt(message.id) > after)
    .slice(0, limit)
    .map(({ message }) => shown(world, channel, message))
    .reverse()
}

function readMessage(world: World, channel: Channel, id: string): APIMessage {
  allow(channel, 'READ_MESSAGE_HISTORY')
  const found = findMessage(world, channel.id, id)
  if (!found || found.onlyFor !== undefined) throw new Refused(404, 10_008, 'Unknown Message')
  return shown(world, channel, found.message)
}

function shown(world: World, channel: Channel, message: APIMessage): APIMessage {
  const whole = fresh(world, message)
  return world.allowsMessageContent ? whole : withoutContent(world, whole, channel.type === ChannelType.DM)
}

function deleteMessage(world: World, channel: Channel, id: string): undefined {
  const found = findMessage(world, channel.id, id)
  if (!found) throw new Refused(404, 10_008, 'Unknown Message')
  if (found.message.author.id !== world.bot.id) throw new Refused(403, 50_013, 'Missing Permissions')
  forget(world, channel, id)
}

export function forget(world: World, channel: Channel, id: string): void {
  channel.messages = channel.messages.filter(({ message }) => message.id !== id)
  world.dispatch('MESSAGE_DELETE', { id, channel_id: channel.id, guild_id: channel.guild_id })
}

function openDirect(world: World, user: string): Body {
  const person = world.users.get(user)
  if (!person) throw new Refused(400, 50_033, 'Invalid Recipient(s)')
  const channel = directOf(world, user)
  return { id: channel.id, type: channel.type, recipients: [person], last_message_id: null }
}

export function directOf(world: World, user: string): Channel {
  const known = [...world.channels.values()].find(({ person }) => person?.id === user)
  if (known) return known
  const person = world.users.get(user)!
  const channel: Channel = {
    id: world.snowflake(),
    name: person.username,
    type: ChannelType.DM,
    person,
    messages: [],
    forbidden: new Set(),
  }
  world.channels.set(channel.id, channel)
  return channel
}

function createThread(world: World, channel: Channel, id: string, body: Body): object {
  if (channel.type !== ChannelType.GuildText) {
    throw new Refused(400, 50_024, 'Cannot execute action on this channel type')
  }
  allow(channel, 'CREATE_PUBLIC_THREADS')
  const starter = findMessage(world, channel.id, id)
  if (!starter) throw new Refused(404, 10_008, 'Unknown Message')
  if (world.channels.has(id))
    throw new Refused(400, 160_004, 'A thread has already been created for this message')
  const name = String(body['name'] ?? '')
  if (name.length < 1 || name.length > 100) throw new Refused(400, 50_035, 'Invalid Form Body')
  return openThread(world, channel, id, name)
}

/** Starts a thread, which has the id of its first message. */
export function openThread(world: World, parent: Channel, id: string, name: string): object {
  const thread: Channel = {
    id,
    name,
    type: ChannelType.PublicThread,
    guild_id: parent.guild_id,
    parent_id: parent.id,
    messages: [],
    forbidden: new Set([...parent.forbidden].filter((each) => each !== 'SEND_MESSAGES')),
  }
  world.channels.set(id, thread)
  const payload = {
    id,
    name,
    type: thread.type,
    guild_id: thread.guild_id,
    parent_id: parent.id,
    owner_id: world.bot.id,
    message_count: 0,
    member_count: 1,
    thread_metadata: {
      archived: false,
      auto_archive_duration: 1440,
      archive_timestamp: new Date().toISOString(),
      locked: false,
    },
  }
  world.dispatch('THREAD_CREATE', { ...payload, newly_created: true })
  return payload
}

/** Serves files as the CDN does: by signed addresses until they expire, without a token. */
export function serveFile(world: World, request: IncomingMessage, response: ServerResponse, url: URL): void {
  const path = url.pathname.replace(/^\/media/, '')
  const found = world.files.get(path)
  const ex = url.searchParams.get('ex') ?? ''
  const isSigned = url.searchParams.get('hm') === signatureOf(path, ex)
  if (request.headers.authorization !== undefined) response.writeHead(400).end('A token was sent to the CDN.')
  else if (!found && world.anyFile) {
    world.served.push(`${url.pathname}${url.search}`)
    response.end(world.anyFile.byPath[url.pathname + url.search] ?? world.anyFile.content)
  } else if (!found || !isSigned || Number.parseInt(ex, 16) * 1000 < Date.now()) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('This content is no longer available.')
  } else {
    world.served.push(path)
    response.writeHead(200, { 'content-type': found.file.contentType ?? 'application/octet-stream' })
    response.end(found.file.bytes)
  }
}
