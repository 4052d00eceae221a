// The Discord double's gateway: hello, identify, ready, heartbeats, dispatches by intent, resume with missed events.

import type { Server } from 'node:http'
import { type APIMessage, GatewayCloseCodes, GatewayIntentBits, GatewayOpcodes } from 'discord.js'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Channel, isThread, type World, withoutContent } from './state.ts'

interface Session {
  id: string
  intents: number
  sequence: number
  /** Sent events, for a resume. */
  sent: { op: number; t: string; s: number; d: unknown }[]
  socket?: WebSocket
}

export interface Socket {
  dispatch(type: string, data: object): void
  /** Sends any value to all sessions, whatever their intents. */
  dispatchRaw(type: string, data: unknown): void
  /** Sends a text to all connections as it is. */
  sendText(text: string): void
  /** Sends these texts in place of the first payload of the next connections. */
  greetings: string[]
  /** Resolves when each client has read all events sent to it. */
  read(): Promise<void>
  /** Breaks the connections without a close frame, as a network failure does. */
  drop(): void
  /** Closes the connections with a close code of Discord. */
  closeWith(code: number): void
  /** Number of identifies and resumes. */
  readonly counts: { identified: number; resumed: number }
  close(): void
}

const HEARTBEAT_MS = 41_250

export function openSocket(server: Server, world: World): Socket {
  const sessions = new Map<string, Session>()
  const counts = { identified: 0, resumed: 0 }
  const greetings: string[] = []
  const sockets = new WebSocketServer({ server })

  const send = (session: Session, type: string, data: unknown) => {
    const packet = { op: GatewayOpcodes.Dispatch, t: type, s: ++session.sequence, d: data }
    session.sent.push(packet)
    session.socket?.send(JSON.stringify(packet))
  }

  const identify = (socket: WebSocket, { token, intents }: { token?: string; intents?: number }) => {
    if (token !== world.token)
      return socket.close(GatewayCloseCodes.AuthenticationFailed, 'Authentication failed.')
    if (intents === undefined) return socket.close(GatewayCloseCodes.InvalidIntents, 'Invalid intent(s).')
    if ((intents & GatewayIntentBits.MessageContent) !== 0 && !world.allowsMessageContent) {
      return socket.close(GatewayCloseCodes.DisallowedIntents, 'Disallowed intent(s).')
    }
    counts.identified++
    const session: Session = { id: `session-${world.snowflake()}`, intents, sequence: 0, sent: [], socket }
    sessions.set(session.id, session)
    send(session, 'READY', {
      v: 10,
      user: world.bot,
      guilds: world.isInServer === false ? [] : [{ id: world.guild.id, unavailable: true }],
      session_id: session.id,
      resume_gateway_url: world.origin.replace('http', 'ws'),
      application: { id: world.bot.id, flags: 0 },
    })
    if ((intents & GatewayIntentBits.Guilds) !== 0) send(session, 'GUILD_CREATE', guildOf(world))
  }

  const resume = (socket: WebSocket, { session_id, seq }: { session_id?: string; seq?: number }) => {
    const session = sessions.get(session_id ?? '')
    if (!session) return socket.send(JSON.stringify({ op: GatewayOpcodes.InvalidSession, d: false }))
    counts.resumed++
    session.socket = socket
    for (const packet of session.sent.filter(({ s }) => s > (seq ?? 0))) socket.send(JSON.stringify(packet))
    send(session, 'RESUMED', {})
  }

  sockets.on('connection', (socket) => {
    socket.on('message', (data) => {
      const { op, d } = JSON.parse(String(data)) as { op: number; d: never }
      if (op === GatewayOpcodes.Identify) identify(socket, d)
      if (op === GatewayOpcodes.Resume) resume(socket, d)
      if (op === GatewayOpcodes.Heartbeat) socket.send(JSON.stringify({ op: GatewayOpcodes.HeartbeatAck }))
    })
    socket.on('close', () => {
      for (const session of sessions.values()) if (session.socket === socket) session.socket = undefined
    })
    const hello = { op: GatewayOpcodes.Hello, d: { heartbeat_interval: HEARTBEAT_MS } }
    socket.send(greetings.shift() ?? JSON.stringify(hello))
  })

  return {
    counts,
    greetings,
    sendText(text) {
      for (const socket of sockets.clients) socket.send(text)
    },
    dispatch(type, data) {
      for (const session of sessions.values()) {
        const seen = seenWith(session.intents, world, type, data)
        if (seen) send(session, type, seen)
      }
    },
    dispatchRaw(type, data) {
      for (const session of sessions.values()) send(session, type, data)
    },
    async read() {
      const open = [...sockets.clients].filter(({ readyState, OPEN }) => readyState === OPEN)
      await Promise.all(
        open.map((socket) => {
          const answered = new Promise<void>((resolve) => {
            socket.once('pong', () => resolve()).once('close', () => resolve())
          })
          // Acknowledged in order, after all earlier events.
          socket.ping()
          return answered
        }),
      )
    },
    drop() {
      for (const socket of sockets.clients) socket.terminate()
    },
    closeWith(code) {
      for (const socket of sockets.clients) socket.close(code)
    },
    close() {
      for (const socket of sockets.clients) socket.terminate()
      sockets.close()
    },
  }
}

/** Returns the event as a session with these intents receives it; undefined if the intents exclude it. */
function seenWith(intents: number, world: World, type: string, data: object): object | undefined {
  const has = (bit: number) => (intents & bit) !== 0
  const { guild_id } = data as { guild_id?: string }
  if (type === 'INTERACTION_CREATE') return data
  if (type.startsWith('MESSAGE_')) {
    const needed = guild_id === undefined ? GatewayIntentBits.DirectMessages : GatewayIntentBits.GuildMessages
    if (!has(needed)) return undefined
    const isWhole = has(GatewayIntentBits.MessageContent) || !('author' in data)
    return isWhole ? data : withoutContent(world, data as APIMessage, guild_id === undefined)
  }
  return has(GatewayIntentBits.Guilds) ? data : undefined
}

function guildOf(world: World): object {
  const channels = [...world.channels.values()].filter(({ guild_id }) => guild_id !== undefined)
  const plain = ({ messages: _, forbidden: __, person: ___, ...channel }: Channel) => ({
    ...channel,
    position: 0,
    permission_overwrites: [],
  })
  return {
    id: world.guild.id,
    name: world.guild.name,
    preferred_locale: world.guild.locale,
    owner_id: world.bot.id,
    member_count: 3,
    joined_at: '2026-01-01T00:00:00.000Z',
    features: [],
    roles: [],
    emojis: [],
    stickers: [],
    members: [],
    presences: [],
    voice_states: [],
    stage_instances: [],
    guild_scheduled_events: [],
    channels: channels.filter((channel) => !isThread(channel)).map(plain),
    threads: channels
      .filter(isThread)
      .map((channel) => ({ ...plain(channel), thread_metadata: { archived: false } })),
    premium_tier: 0,
    verification_level: 0,
    nsfw_level: 0,
    mfa_level: 0,
    system_channel_flags: 0,
    unavailable: false,
  }
}
