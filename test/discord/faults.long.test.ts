// Faults of Discord and dead processes: each question still has exactly one visible reply.

import { inspect } from 'node:util'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { questionOfMessage } from '../../src/discord/message.ts'
import { parseMessage } from '../../src/discord/payloads.ts'
import { ALT_TEXT as CAPTION, doubleEngine } from '../serve/double.ts'
import { until } from '../until.ts'
import type { Fault } from './double/index.ts'
import {
  type CrashPoint,
  crashAt,
  type Harness,
  openHarness,
  png,
  quiet,
  repliesIn,
  reply,
  startBot,
} from './harness.ts'
import { questionOfInteraction } from './payloads.ts'

/** When the process dies; undefined: it does not. */
const MOMENTS: (CrashPoint | undefined)[] = [
  undefined,
  'before the reply',
  'after the reply',
  'when the reply fails',
]

let harness: Harness
afterEach(() => harness.close())

async function open(options: Parameters<typeof openHarness>[0] = {}) {
  harness = await openHarness(options)
  const { discord, bot } = harness
  if (bot.gateway) await until(() => discord.world.commandPuts > 0)
  return { ...harness, at: `<@${discord.botId}>` }
}

const POSTS = /^POST \/channels\/\d+\/messages$/
const LONG_AFTER_MS = 60_000

describe('the gateway', () => {
  test('events delivered more than once are answered once', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    const event = discord.eventOf(channel, asked)
    for (let again = 0; again < 3; again++) discord.dispatch('MESSAGE_CREATE', event)
    await reply(discord, channel, { to: asked })
    discord.dispatch('MESSAGE_CREATE', event)
    await quiet(bot)
    expect(repliesIn(discord, channel)).toHaveLength(1)
    expect(bot.engine.asks).toHaveLength(1)
  })
  test('a deletion that overtakes its message leaves nothing to answer', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = discord.say(ann, channel, { content: at, files: [png()], isSilent: true })
    const event = discord.eventOf(channel, asked)
    const withdraw = vi.spyOn(bot.processor, 'retract')
    discord.deleteMessage(channel, asked)
    await until(() => withdraw.mock.settledResults[0]?.type === 'fulfilled')
    discord.dispatch('MESSAGE_CREATE', event)
    await quiet(bot)
    expect(repliesIn(discord, channel)).toEqual([])
  })
  test('a lost connection is resumed, and messages sent meanwhile are answered once', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const before = discord.say(ann, channel, { content: at, files: [png()] })
    await reply(discord, channel, { to: before })
    discord.drop()
    const meanwhile = discord.say(ann, channel, { content: at, files: [png()] })
    expect((await reply(discord, channel, { to: meanwhile })).content).toContain(CAPTION)
    await quiet(bot)
    expect(discord.connections).toEqual({ identified: 1, resumed: 1 })
    expect(repliesIn(discord, channel)).toHaveLength(2)
  })
  test('an event that is not as expected is reported, and the next one answered', async () => {
    const { discord, channel, ann, at, bot } = await open()
    discord.dispatch('INTERACTION_CREATE', { id: 1, type: 'two' })
    discord.dispatch('MESSAGE_DELETE', { id: ['x'] })
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    await reply(discord, channel, { to: asked })
    expect(bot.reported).toHaveLength(2)
  })
})

describe('REST', () => {
  const trouble: [string, Fault][] = [
    ['limits the rate', { on: POSTS, status: 429, retryAfterS: 0.05 }],
    ['limits the rate for long', { on: POSTS, status: 429, retryAfterS: 10 }],
    ['fails for a while', { on: POSTS, status: 500, times: 7 }],
    ['fails behind a proxy', { on: POSTS, status: 503, times: 4 }],
    ['does it but the answer is lost', { on: POSTS, isLost: true, times: 2 }],
    ['does it but cannot be asked whether', { on: /messages/, isLost: true, times: 5 }],
    ['cannot show a typing sign', { on: /typing/, status: 500, times: 9 }],
  ]
  test.each(trouble)('where it %s there is one reply', async (_, fault) => {
    const { discord, channel, ann, at, bot } = await open()
    discord.fault(fault)
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    await reply(discord, channel, { to: asked })
    await bot.processor.drained()
    expect(repliesIn(discord, channel)).toHaveLength(1)
  })
  test('where the bot may not read, a reply whose response is lost is posted once by its nonce', async () => {
    const { discord, channel, ann, at, bot } = await open()
    discord.forbid(channel, 'READ_MESSAGE_HISTORY')
    discord.fault({ on: POSTS, skip: 1, isLost: true })
    discord.say(ann, channel, { content: at, files: [png()] })
    await reply(discord, channel)
    await bot.processor.drained()
    expect(bot.reported).toEqual(['discord_failed'])
    expect(repliesIn(discord, channel)).toHaveLength(1)
  })
  test('a response lost between the parts of a long reply loses and repeats no part', async () => {
    const { discord, channel, ann, at, bot } = await open({ engine: talker() })
    discord.fault({ on: POSTS, skip: 1, isLost: true })
    const asked = discord.say(ann, channel, { content: `${at} tell me`, files: [png()] })
    await until(() => repliesIn(discord, channel).length === 3)
    await bot.processor.drained()
    expect(partsOf(repliesIn(discord, channel))).toEqual(['1/3', '2/3', '3/3'])
    expect(repliesIn(discord, channel).map(({ replyTo }) => replyTo)).toEqual([asked, asked, asked])
  })
})

describe('interactions', () => {
  test('an initial response whose acknowledgement is lost is kept', async () => {
    const { discord, channel, ann } = await open()
    discord.fault({ on: /callback$/, status: 500 })
    discord.fault({ on: /^PATCH/, isLost: true })
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    expect((await reply(discord, channel)).content).toContain(CAPTION)
    expect(repliesIn(discord, channel)).toHaveLength(1)
  })
  test('one delivered twice is answered once', async () => {
    const { discord, channel, ann, bot } = await open()
    const invocation = { command: 'caption', options: { image: png() } }
    const { interaction, payload } = discord.prepare(ann, channel, invocation)
    // The second overtakes the first.
    discord.fault({ on: /callback$/, after: until(() => interaction.state === 'answered') })
    discord.dispatch('INTERACTION_CREATE', payload)
    discord.dispatch('INTERACTION_CREATE', payload)
    await reply(discord, channel)
    await quiet(bot)
    expect(bot.reported).toEqual([])
    expect(bot.engine.asks).toHaveLength(1)
    expect(repliesIn(discord, channel)).toHaveLength(1)
  })
  test('one delivered too late for an initial response is dropped', async () => {
    const { discord, channel, ann, bot } = await open()
    bot.engine.hold()
    const invocation = { command: 'caption', options: { image: png() } }
    const { interaction, payload } = discord.prepare(ann, channel, invocation)
    interaction.ageMs = 3_001
    discord.dispatch('INTERACTION_CREATE', payload)
    await until(() => bot.reported.includes('discord_refused'))
    bot.engine.release()
    await bot.processor.drained()
    expect(interaction.failed).toBe(true)
    expect(discord.read(channel, ann)).toEqual([])
    expect(discord.calls.filter((call) => call.includes('/webhooks/'))).toEqual([])
  })
  test('one whose token has expired is given up', async () => {
    const { discord, channel, ann, bot } = await open()
    bot.engine.hold()
    const interaction = await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    await until(() => bot.engine.asks.length > 0)
    interaction.ageMs = 16 * 60_000
    bot.engine.release()
    await bot.processor.drained()
    expect(bot.reported).toEqual(['discord_refused'])
  })
  test('a long reply whose second part fails once is whole', async () => {
    const { discord, channel, ann, bot } = await open({ engine: talker() })
    discord.fault({ on: /^POST \/webhooks/, skip: 1, status: 500, times: 3 })
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png(), question: 'tell me' } })
    await until(() => repliesIn(discord, channel).length === 3)
    await bot.processor.drained()
    expect(partsOf(repliesIn(discord, channel))).toEqual(['1/3', '2/3', '3/3'])
  })
})

describe('a process that dies', () => {
  const cases: [CrashPoint, 'reply' | 'thread'][] = [
    ['before the reply', 'reply'],
    ['after the reply', 'reply'],
    ['before the reply', 'thread'],
    ['after the reply', 'thread'],
  ]
  test.each(cases)('%s leaves one, as a %s', async (moment, answers) => {
    const { discord, channel, ann, at, folder, bot } = await open({ answers, crash: crashAt(moment) })
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    await until(() => bot.reported.length > 0)
    await bot.close()
    discord.world.nonces.clear()
    const next = await startBot(discord, { folder, answers, laterMs: LONG_AFTER_MS })
    const place = answers === 'thread' ? asked : channel
    await reply(discord, place)
    await next.processor.drained()
    expect(repliesIn(discord, place)).toHaveLength(1)
    // The next process knows the picture.
    const { id } = repliesIn(discord, place)[0]!
    const follow = discord.say(ann, place, { content: 'how many?', replyTo: id })
    expect((await reply(discord, place, { to: follow })).content).toContain('answer 1 to how many?')
    await next.close()
  })
  test('in the middle of a long reply leaves all its parts once', async () => {
    const engine = talker()
    const crash = crashAt('when the reply fails')
    const { discord, channel, ann, at, folder, bot } = await open({ engine, crash })
    const fault: Fault = { on: POSTS, skip: 1, status: 500, times: 9 }
    discord.fault(fault)
    discord.say(ann, channel, { content: `${at} tell me`, files: [png()] })
    await until(() => bot.reported.length > 0)
    await bot.close()
    expect(partsOf(repliesIn(discord, channel))).toEqual(['1/3'])
    fault.times = 0
    discord.world.nonces.clear()
    const next = await startBot(discord, { folder, engine, laterMs: LONG_AFTER_MS })
    await next.processor.drained()
    await next.close()
    expect(partsOf(repliesIn(discord, channel))).toEqual(['1/3', '2/3', '3/3'])
  })
  test('right after an ephemeral problem posts it twice, which is the one known gap', async () => {
    const { discord, channel, ann, folder, bot } = await open({ crash: crashAt('after the reply') })
    await discord.invoke(ann, channel, { command: 'ask', options: { question: 'how many?' } })
    await until(() => bot.reported.length > 0)
    await bot.close()
    const next = await startBot(discord, { folder, laterMs: LONG_AFTER_MS })
    await next.processor.drained()
    await next.close()
    expect(repliesIn(discord, channel)).toEqual([])
    const replies = repliesIn(discord, channel, ann).map(({ content }) => content)
    expect(replies).toEqual(Array(2).fill(expect.stringMatching(/^I found no picture/)))
  })
  test('with an interaction leaves one', async () => {
    const { discord, channel, ann, folder, bot } = await open({ crash: crashAt('after the reply') })
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    await until(() => bot.reported.length > 0)
    await bot.close()
    const next = await startBot(discord, { folder, laterMs: LONG_AFTER_MS })
    await next.processor.drained()
    await next.close()
    expect(repliesIn(discord, channel)).toHaveLength(1)
    expect(discord.calls.filter((call) => call.startsWith('PATCH'))).toHaveLength(1)
  })
})

test('no reported error contains a token, a question or a URL with a token', async () => {
  const { discord, channel, ann, at, bot } = await open()
  for (const on of [POSTS, /^PATCH/, /callback$/, /typing/]) discord.fault({ on, status: 500, times: 3 })
  discord.forbid(channel, 'SEND_MESSAGES')
  discord.world.closedDirectMessages.add(ann)
  discord.say(ann, channel, { content: `${at} a secret?`, files: [png()] })
  const { token } = await discord.invoke(ann, channel, {
    command: 'caption',
    options: { image: png(), question: 'a secret?' },
  })
  await until(() => bot.errors.length >= 3)
  // Longer than a missing initial response is retried.
  bot.pass(11_000)
  await bot.processor.drained()
  const reported = inspect(bot.errors, { depth: 20, showHidden: true })
  for (const secret of [discord.token, token, 'a secret']) expect(reported).not.toContain(secret)
})

// The seed of a run decides its faults and whether its process dies.
test('40 runs with faults from a seed end with exactly one whole reply each', async () => {
  const { discord, channel, ann, at, folder, bot } = await open({ isOffline: true })
  await bot.close()
  const around = { me: discord.botId, now: Date.now(), messageContent: false }
  for (let seed = 0; seed < 40; seed++) {
    const random = xoroshiro128plus(seed)
    const upTo = (most: number) => uniformInt(random, 0, most)
    const isLong = upTo(1) === 0
    const engine = isLong ? talker() : doubleEngine()
    const asked = discord.say(ann, channel, { content: `${at} how many?`, files: [png()], isSilent: true })
    const question = questionOfMessage(parseMessage(discord.eventOf(channel, asked)), around)!
    const faults: Fault[] = [
      { on: POSTS, status: 500, times: upTo(4), skip: upTo(2) },
      { on: POSTS, isLost: true, times: upTo(2), skip: upTo(2) },
      { on: POSTS, status: 429, retryAfterS: 0.01, times: upTo(1) },
      { on: /^GET/, status: 503, times: upTo(4) },
    ]
    for (const fault of faults.slice(0, 1 + upTo(3))) discord.fault(fault)
    const moment = MOMENTS[upTo(3)]
    const first = await startBot(discord, {
      folder: `${folder}/${seed}`,
      isOffline: true,
      engine,
      crash: moment && crashAt(moment),
    })
    await first.processor.submit(question)
    await first.processor.drained()
    await first.close()
    for (const fault of faults) fault.times = 0
    discord.world.nonces.clear()
    const second = await startBot(discord, {
      folder: `${folder}/${seed}`,
      isOffline: true,
      engine,
      laterMs: LONG_AFTER_MS,
    })
    await second.processor.drained()
    await second.close()
    const replies = repliesIn(discord, channel).filter(({ replyTo }) => replyTo === asked)
    expect({ seed, parts: partsOf(replies) }).toEqual({
      seed,
      parts: isLong ? ['1/3', '2/3', '3/3'] : [undefined],
    })
  }
})

test('40 interactions with faults from a seed end with exactly one reply each', async () => {
  const { discord, channel, ann, folder, bot } = await open()
  await bot.close()
  for (let seed = 0; seed < 40; seed++) {
    const random = xoroshiro128plus(seed)
    const upTo = (most: number) => uniformInt(random, 0, most)
    const { interaction, payload } = discord.prepare(ann, channel, {
      command: 'caption',
      options: { image: png() },
    })
    interaction.state = 'new'
    const question = questionOfInteraction(payload, Date.now())!
    const faults: Fault[] = [
      { on: /^PATCH/, status: 500, times: upTo(4) },
      { on: /^PATCH/, isLost: true, times: upTo(2) },
      { on: /^GET/, status: 503, times: upTo(4) },
    ]
    for (const fault of faults.slice(0, 1 + upTo(2))) discord.fault(fault)
    const moment = MOMENTS[upTo(3)]
    const first = await startBot(discord, {
      folder: `${folder}/${seed}`,
      isOffline: true,
      crash: moment && crashAt(moment),
    })
    discord.acknowledge(interaction)
    await first.processor.submit(question)
    await first.processor.drained()
    await first.close()
    for (const fault of faults) fault.times = 0
    const second = await startBot(discord, {
      folder: `${folder}/${seed}`,
      isOffline: true,
      laterMs: LONG_AFTER_MS,
    })
    await second.processor.drained()
    await second.close()
    const seen = discord.read(channel, ann)
    expect({ seed, seen: seen.length, isThinking: seen.some(({ isThinking }) => isThinking) }).toEqual({
      seed,
      seen: seed + 1,
      isThinking: false,
    })
  }
})

/** A model whose answer takes three messages. */
function talker() {
  const engine = doubleEngine()
  const answer: typeof engine.answer = async (request, hooks) => {
    const reply = await engine.answer(request, hooks)
    return { ...reply, text: 'many words '.repeat(480).trim() }
  }
  return Object.setPrototypeOf({ answer }, engine) as typeof engine
}

function partsOf(replies: readonly { content: string }[]): (string | undefined)[] {
  return replies.map(({ content }) => /\n-# (\d+\/\d+)$/.exec(content)?.[1])
}
