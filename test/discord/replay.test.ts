// Discord's gateway events with what people see of the answer: each file of replay/ is a test. They are written after the
// platform's documentation, with values of their own. A new one is a new file:
//
//   about            what it shows
//   messageContent   whether the bot has the Message Content intent. Default: it has not
//   deliveries       events as the gateway sends them, one after another: `t` and `d`
//   messages         messages that GET returns
//   files            contents of files that are no PNG, by path and query
//   faults           calls that Discord refuses: `on` (a regular expression), `status`, `code`
//   automatic        channels with automatic captions
//   seen             messages of the bot that are visible at the end, in order. `/words/` is a regular expression
//   asked            questions that reach the model; '' is a caption
//   served           downloads, in order
//
// `$ME` is the bot's id.

import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { APIMessage } from 'discord.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { matching } from '../matching.ts'
import { PNG } from '../serve/double.ts'
import { type DiscordDouble, type Fault, startDiscordDouble } from './double/index.ts'
import type { Channel } from './double/state.ts'
import { quiet, startBot } from './harness.ts'

interface Replay {
  about: string
  messageContent?: boolean
  deliveries: { t: string; d: Record<string, unknown> }[]
  messages?: APIMessage[]
  files?: Record<string, string>
  faults?: (Omit<Fault, 'on'> & { on: string })[]
  automatic?: string[]
  seen: Record<string, unknown>[]
  asked?: string[]
  served?: string[]
}

const FOLDER = join(import.meta.dirname, 'replay')
let discord: DiscordDouble
let stores: string
beforeAll(async () => {
  discord = await startDiscordDouble()
  stores = await mkdtemp(join(tmpdir(), 'glimpse-replay-'))
})
afterAll(async () => {
  await discord.close()
  await rm(stores, { recursive: true, force: true })
})

test.each(readdirSync(FOLDER))('%s', async (name) => {
  const text = readFileSync(join(FOLDER, name), 'utf8').replaceAll('$ME', discord.botId)
  const replay = JSON.parse(text) as Replay
  const { world } = discord
  world.channels.clear()
  world.served.length = 0
  world.anyFile = { content: PNG, byPath: replay.files ?? {} }
  for (const { t, d } of replay.deliveries) prepare(t, d)
  for (const message of replay.messages ?? []) channel(message).messages.push({ message, pinged: [] })
  for (const fault of replay.faults ?? []) discord.fault({ ...fault, on: new RegExp(fault.on) })
  const bot = await startBot(discord, { folder: join(stores, name), messageContent: replay.messageContent })
  try {
    for (const each of replay.automatic ?? []) await bot.preferences.setAutomatic(`discord/${each}`, true)
    for (const { t, d } of replay.deliveries) {
      discord.dispatchRaw(t, d)
      await quiet(bot)
    }
    const seen = [...world.channels.values()].flatMap(({ messages }) =>
      messages.filter(({ message }) => message.author.id === discord.botId),
    )
    const visible = seen.map(({ message, onlyFor }) => ({
      channel: message.channel_id,
      content: message.content,
      replyTo: message.message_reference?.message_id,
      onlyFor,
    }))
    expect(visible).toEqual(matching(replay.seen))
    if (replay.asked) expect(bot.engine.asks.map(({ question = '' }) => question)).toEqual(replay.asked)
    if (replay.served) expect(world.served).toEqual(replay.served)
  } finally {
    await bot.close()
  }
})

/** Creates what the event refers to: its channel, its author, its interaction. */
function prepare(type: string, d: Record<string, unknown>): void {
  if (typeof d['channel_id'] !== 'string') return
  const message = d as unknown as APIMessage
  const { messages } = channel(message)
  if (type === 'MESSAGE_CREATE') messages.push({ message, pinged: [] })
  const member = d['member'] as { user?: { id: string } } | undefined
  const user = (d['author'] ?? d['user'] ?? member?.user) as { id: string } | undefined
  if (user) discord.world.users.set(user.id, user as never)
  const { id, token } = d as { id: string; token?: string }
  if (token === undefined || !user) return
  const where = { channel: d['channel_id'], user: user.id }
  discord.world.interactions.set(token, { id, token, ...where, ageMs: 0, state: 'new', failed: false })
}

function channel({ channel_id: id, ...more }: APIMessage): Channel {
  const { guild_id, channel_type = 0 } = more as { guild_id?: string; channel_type?: number }
  const known = discord.world.channels.get(id)
  const type = channel_type as Channel['type']
  const made: Channel = known ?? { id, name: id, type, guild_id, messages: [], forbidden: new Set() }
  discord.world.channels.set(id, made)
  return made
}
