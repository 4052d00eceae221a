// Payloads of the gateway that @discordjs/ws reads without checking them. Each makes it identify again, for which it waits 5 s.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { ALT_TEXT as CAPTION } from '../serve/double.ts'
import { until } from '../until.ts'
import { type Harness, openHarness, png, reply } from './harness.ts'

let harness: Harness
beforeEach(async () => {
  harness = await openHarness()
})
afterEach(() => harness.close())

test.each([
  '{"op":0,"t":"READY","s":1,"d":null}',
  '{"op":0,"t":"READY","s":1,"d":{"user":null,"application":{"id":"1"}}}',
  '{"op":0,"t":"READY","s":1,"d":{"user":{"id":"1"},"application":{"id":"1"},"resume_gateway_url":"nowhere"}}',
  '{"op":10,"d":null}',
  '{"op":10,"d":{"heartbeat_interval":"soon"}}',
  '{"op":10,"d":{"heartbeat_interval":1e12}}',
  '{"op":9,"d":null}',
])('a payload that the library would not survive opens the connection anew: %s', async (text) => {
  const { discord, bot, channel, ann } = harness
  discord.sendText(text)
  await until(() => discord.connections.identified === 2)
  await until(() => bot.gateway!.fault() === undefined)
  expect(bot.reported).toEqual(['discord_payload'])
  const asked = discord.say(ann, channel, { content: `<@${discord.botId}>`, files: [png()] })
  expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
})
