// The buttons under a reply: who may press them, and what people see then.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { discordEndpoint } from '../../src/discord/webhook.ts'
import { until } from '../until.ts'
import { signedRequest } from './double/index.ts'
import { findMessage, type StoredInteraction } from './double/state.ts'
import { type Harness, openHarness, png, quiet, repliesIn, reply } from './harness.ts'

let harness: Harness
let ben: string
beforeEach(async () => {
  harness = await openHarness()
  ben = harness.discord.addUser('ben')
})
afterEach(() => harness.close())

const MODERATOR = String(1 << 13)

/** Ann asks; returns the bot's reply. */
async function asked(words = 'how many?') {
  const { discord, channel, ann, bot } = harness
  const to = discord.say(ann, channel, { content: `<@${discord.botId}> ${words}`, files: [png()] })
  const { id } = await reply(discord, channel, { to })
  await bot.processor.drained()
  return id
}

/** The ids of the buttons under a message by their names. */
function buttonsUnder(id: string): Record<string, string> {
  const { components } = findMessage(harness.discord.world, harness.channel, id)!.message
  const buttons = (components ?? []).flatMap(
    (row) => (row as { components: { custom_id: string }[] }).components,
  )
  return Object.fromEntries(buttons.map(({ custom_id }) => [custom_id.split(':')[0]!, custom_id]))
}

/** An interaction with a message's button, or with the window that one opened. */
function interaction(user: string, message: string, data: object, more: object = {}) {
  const { discord, channel } = harness
  const { world } = discord
  const id = world.snowflake()
  const token = `token-${id}`
  const stored: StoredInteraction = {
    ...{ id, token, user, channel, ageMs: 0, state: 'new', failed: false, component: message },
  }
  world.interactions.set(token, stored)
  const payload = {
    ...{ id, token, version: 1, type: 3, application_id: discord.botId, locale: 'en-US' },
    ...{ channel_id: channel, channel: { id: channel, type: 0 }, guild_id: discord.guildId },
    member: { user: world.users.get(user), permissions: '0', roles: [] },
    message: findMessage(world, channel, message)!.message,
    data,
    ...more,
  }
  return { stored, payload }
}

async function press(user: string, message: string, name: string, permissions = '0') {
  const { discord, bot } = harness
  const data = { custom_id: buttonsUnder(message)[name], component_type: 2 }
  const member = { user: discord.world.users.get(user), permissions, roles: [] }
  const { stored, payload } = interaction(user, message, data, { member })
  discord.dispatchRaw('INTERACTION_CREATE', payload)
  await quiet(bot)
  return stored
}

test('an answer has three, a problem has none', async () => {
  const { discord, channel, ann } = harness
  expect(Object.keys(buttonsUnder(await asked()))).toEqual(['ask', 'again', 'delete'])
  const to = discord.say(ben, channel, { content: `<@${discord.botId}>` })
  const { id } = await reply(discord, channel, { to })
  expect(buttonsUnder(id)).toEqual({})
  expect(ann).not.toBe(ben)
})

test('“delete” removes the reply: for its asker and for moderators, and for nobody else', async () => {
  const { discord, channel, ann } = harness
  const [first, second] = [await asked(), await asked()]
  await press(ben, first, 'delete')
  expect(repliesIn(discord, channel, ben).at(-1)).toMatchObject({
    isEphemeral: true,
    content: 'Only the person who asked can do that, or a moderator.',
  })
  expect(repliesIn(discord, channel)).toHaveLength(2)
  await press(ann, first, 'delete')
  await press(ben, second, 'delete', MODERATOR)
  expect(repliesIn(discord, channel)).toEqual([])
})

test('“again” asks the same question, in another way', async () => {
  const { discord, channel, ann, bot } = harness
  await press(ann, await asked(), 'again')
  expect(repliesIn(discord, channel).at(-1)?.content).toContain('to how many?')
  expect(bot.engine.asks.at(-1)).toMatchObject({ task: 'answer', settings: { do_sample: true } })
  await press(ann, await asked(''), 'again')
  expect(repliesIn(discord, channel).at(-1)?.content).toMatch(/Two red apples/)
  expect(repliesIn(discord, channel).at(-1)?.content).toContain('```')
})

test('“again” repeats what its own reply answers, also where the model did not know it', async () => {
  const { discord, channel, ann, bot } = harness
  const known = await asked()
  bot.engine.knows(() => false)
  const unknown = await asked('what colour is it?')
  const next = discord.say(ann, channel, { content: 'and who is that?', replyTo: unknown })
  await reply(discord, channel, { to: next })
  await quiet(bot)
  bot.engine.knows(() => true)
  await press(ann, unknown, 'again')
  expect(repliesIn(discord, channel).at(-1)?.content).toContain('to what colour is it?')
  await press(ann, known, 'again')
  expect(repliesIn(discord, channel).at(-1)?.content).toContain('to how many?')
})

test('“ask” opens a window, and what is entered there is asked about the picture', async () => {
  const { discord, channel, ann, bot } = harness
  const first = await asked()
  const { modal } = await press(ann, first, 'ask')
  const { custom_id, components } = modal as { custom_id: string; components: { component: object }[] }
  const entered = [{ type: 18, component: { ...components[0]!.component, value: 'what colour is it?' } }]
  const { payload } = interaction(ann, first, { custom_id, components: entered }, { type: 5 })
  discord.dispatchRaw('INTERACTION_CREATE', payload)
  await quiet(bot)
  expect(repliesIn(discord, channel).at(-1)?.content).toContain('answer 2 to what colour is it?')
})

test('over HTTP, where no token deletes the reply, “delete” replaces its words', async () => {
  const { discord, channel, ann, bot } = harness
  const first = await asked()
  const { publicKey, privateKey } = discord
  const answer = discordEndpoint({
    ...{ publicKey, sink: bot.processor, platform: bot.platform, preferences: bot.preferences },
    ...{ messageContent: false, report: (error: unknown) => bot.reported.push(error) },
  })
  const { payload } = interaction(ann, first, { custom_id: buttonsUnder(first)['delete'], component_type: 2 })
  const response = await answer(signedRequest(privateKey, payload))
  expect(await response.json()).toMatchObject({ type: 7, data: { content: 'Deleted.', components: [] } })
  await until(() => repliesIn(discord, channel).length === 1)
})
