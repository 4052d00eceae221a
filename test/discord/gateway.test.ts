// What the gateway sends besides messages: dispatches of unknown shapes, and the end of the connection.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { createWebhookApp } from '../../src/serve/webhook-app.ts'
import { ALT_TEXT as CAPTION } from '../serve/double.ts'
import { until } from '../until.ts'
import { type Harness, openHarness, png, reply, startBot } from './harness.ts'

let harness: Harness
beforeEach(async () => {
  harness = await openHarness()
})
afterEach(() => harness.close())

const SHAPES: unknown[] = [null, [], {}, 'text', 7, { id: null }, { id: '1', channel_id: null, author: null }]
const NAMES = [
  'MESSAGE_CREATE',
  'MESSAGE_UPDATE',
  'MESSAGE_DELETE',
  'INTERACTION_CREATE',
  'GUILD_CREATE',
  'GUILD_UPDATE',
  'GUILD_DELETE',
  'GUILD_ROLE_CREATE',
  'GUILD_MEMBER_ADD',
  'CHANNEL_CREATE',
  'CHANNEL_UPDATE',
  'THREAD_CREATE',
  'THREAD_LIST_SYNC',
  'PRESENCE_UPDATE',
  'USER_UPDATE',
  'SOMETHING_NEW',
]

test('dispatches of a shape that nobody expects change nothing', async () => {
  const { discord, bot, channel, ann } = harness
  for (const name of NAMES) for (const shape of SHAPES) discord.dispatchRaw(name, shape)
  const asked = discord.say(ann, channel, { content: `<@${discord.botId}>`, files: [png()] })
  expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
  expect(bot.reported.filter((code) => code !== 'discord_payload' && !(code instanceof Error))).toEqual([])
  expect(discord.connections).toEqual({ identified: 1, resumed: 0 })
})

test('a bot that is in no server says how to add it, with the permissions that it needs', async () => {
  const { discord, bot, folder } = harness
  expect(bot.gateway!.hint()).toBeUndefined()
  discord.world.isInServer = false
  const alone = await startBot(discord, { folder: `${folder}/alone` })
  const link = /https:\/\/discord\.com\/oauth2\/authorize\?\S+/.exec(alone.gateway!.hint() ?? '')![0]
  const query = Object.fromEntries(new URL(link).searchParams)
  // View Channels, Send Messages, Send Messages in Threads, Create Public Threads, Read Message History.
  expect(query).toEqual({
    client_id: discord.botId,
    scope: 'bot applications.commands',
    permissions: '309237713920',
  })
  await alone.close()
})

test('a connection that breaks is resumed', async () => {
  const { discord, bot, channel, ann } = harness
  discord.drop()
  await until(() => discord.connections.resumed === 1)
  const asked = discord.say(ann, channel, { content: `<@${discord.botId}>`, files: [png()] })
  expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
  expect(bot.gateway!.fault()).toBeUndefined()
})

test('a connection that is closed for good is a fault, and the process is not ready', async () => {
  const { discord, bot } = harness
  const fault = () => bot.gateway!.fault()?.message
  const app = createWebhookApp({ handlers: {}, isReady: () => true, chatFault: fault })
  expect((await app.request('/readyz')).status).toBe(200)
  discord.closeWith(4004)
  await until(() => bot.gateway!.fault() !== undefined)
  expect(bot.reported).toEqual(['discord_token'])
  const response = await app.request('/readyz')
  expect(response.status).toBe(503)
  expect(await response.json()).toEqual({
    ready: false,
    reason: expect.stringContaining('Discord refused DISCORD_TOKEN'),
  })
  expect((await app.request('/healthz')).status).toBe(200)
})

test.each([
  'null',
  '[]',
  '7',
  'no JSON',
  '{}',
  '{"op":null}',
  '{"op":0,"t":null,"s":null,"d":null}',
  '{"op":11,"d":7}',
])('a payload of no meaning changes nothing: %s', async (text) => {
  const { discord, bot, channel, ann } = harness
  discord.sendText(text)
  const asked = discord.say(ann, channel, { content: `<@${discord.botId}>`, files: [png()] })
  expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
  expect(discord.connections).toEqual({ identified: 1, resumed: 0 })
  expect(bot.reported).toEqual([])
})

test('while no greeting can be read the process is not ready, and says why', async () => {
  const { discord, bot } = harness
  const app = createWebhookApp({
    handlers: {},
    isReady: () => true,
    chatFault: () => bot.gateway!.fault()?.message,
  })
  discord.greetings.push('{"op":10,"d":null}', '{"op":10,"d":{}}')
  discord.sendText('{"op":0,"t":"READY","s":1,"d":null}')
  await until(() => bot.reported.length === 2)
  const response = await app.request('/readyz')
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ reason: expect.stringContaining('HELLO') })
  expect(discord.connections.identified).toBe(1)
})

test('a start whose greeting cannot be read fails, and does not connect again', async () => {
  const { discord, folder } = harness
  discord.greetings.push('{"op":10,"d":null}')
  const started = startBot(discord, { folder: `${folder}/second` })
  await expect(started).rejects.toMatchObject({ code: 'discord_payload' })
  expect(discord.connections.identified).toBe(1)
})
