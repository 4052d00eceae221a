// Interactions over HTTP: signatures, and the conversation that follows.

import { generateKeyPairSync } from 'node:crypto'
import { verifyKey } from 'discord-interactions'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { signatureCheck } from '../../src/discord/signature.ts'
import { discordEndpoint } from '../../src/discord/webhook.ts'
import { measured } from '../measured.ts'
import { ALT_TEXT as CAPTION } from '../serve/double.ts'
import { until } from '../until.ts'
import { signedRequest } from './double/index.ts'
import { type Harness, openHarness, png, repliesIn, reply } from './harness.ts'

const NOW_S = 1_800_000_000
const NOW = NOW_S * 1000

describe('signatures', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const hex = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('hex')
  const isSigned = signatureCheck(hex, () => NOW)

  /** The verdicts of signatureCheck and of discord-interactions about the same request. */
  async function bothSay(request: Request): Promise<[boolean, boolean]> {
    const body = new Uint8Array(await request.arrayBuffer())
    const { headers } = request
    const signature = headers.get('x-signature-ed25519') ?? ''
    const timestamp = headers.get('x-signature-timestamp') ?? ''
    return [isSigned(body, headers), await verifyKey(body, signature, timestamp, hex)]
  }
  const signed = (payload: unknown) => signedRequest(privateKey, payload, NOW_S)

  test('a request that Discord signed is accepted, in any script', async () => {
    expect(await bothSay(signed({ type: 1 }))).toEqual([true, true])
    expect(await bothSay(signed({ content: '🐈 größe 猫 \u0000' }))).toEqual([true, true])
    expect(await bothSay(signed('{ "type" : 1 }\n'))).toEqual([true, true])
  })
  test('another body, timestamp, signature or key is not', async () => {
    const good = signed({ type: 1 })
    const body = await good.clone().text()
    const changed = (headers: Record<string, string>, text = body) =>
      new Request(good.url, {
        method: 'POST',
        headers: { ...Object.fromEntries(good.headers), ...headers },
        body: text,
      })
    const other = generateKeyPairSync('ed25519').privateKey
    const bad = [
      changed({}, `${body} `),
      changed({ 'x-signature-timestamp': String(NOW_S + 1) }),
      changed({ 'x-signature-ed25519': '00'.repeat(64) }),
      signedRequest(other, { type: 1 }, NOW_S),
    ]
    for (const request of bad) expect(await bothSay(request)).toEqual([false, false])
    const malformed: Record<string, string>[] = [
      { 'x-signature-ed25519': 'zz' },
      { 'x-signature-ed25519': '' },
      { 'x-signature-timestamp': '' },
    ]
    for (const headers of malformed) {
      expect(isSigned(Buffer.from(body), changed(headers).headers)).toBe(false)
    }
  })
  test.each([-301, -300, 0, 300, 301])(
    'one from %i s away counts within five minutes both ways',
    async (awayS) => {
      const request = signedRequest(privateKey, { type: 1 }, NOW_S + awayS)
      const body = new Uint8Array(await request.clone().arrayBuffer())
      expect(isSigned(body, request.headers)).toBe(Math.abs(awayS) <= 300)
    },
  )
  test('an invalid key is a setup error', () => {
    expect(() => signatureCheck('not a key')).toThrow(
      /^DISCORD_PUBLIC_KEY is no public key .*64 hexadecimal digits/,
    )
  })
})

describe('the endpoint', () => {
  let harness: Harness
  beforeEach(async () => {
    harness = await openHarness({ deliveries: 1 })
    await until(() => harness.discord.world.commandPuts > 0)
  })
  afterEach(() => harness.close())

  const answerOf = (sleep?: () => Promise<void>) => {
    const { processor, platform, preferences } = harness.bot
    const { publicKey } = harness.discord
    return discordEndpoint({
      publicKey,
      sink: processor,
      platform,
      preferences,
      messageContent: true,
      report: () => {},
      sleep,
    })
  }

  test('a ping gets its pong as JSON', async () => {
    const response = await answerOf()(
      signedRequest(harness.discord.privateKey, { id: '1', application_id: '2', type: 1 }),
    )
    expect(response.headers.get('content-type')).toContain('application/json')
    expect(await response.json()).toEqual({ type: 1 })
  })
  test('unsigned is 401, too large 413, and signed nonsense 400', async () => {
    const answer = answerOf()
    const { privateKey } = harness.discord
    const unsigned = new Request('http://glimpse.test/', {
      method: 'POST',
      body: JSON.stringify({ type: 1 }),
    })
    const forged = { platform: 'discord', outcome: 'bad_signature' }
    const before = await measured('glimpse_webhooks_total', forged)
    expect((await answer(unsigned)).status).toBe(401)
    expect(await measured('glimpse_webhooks_total', forged)).toBe(before + 1)
    const large = new Request('http://glimpse.test/', { method: 'POST', body: 'x'.repeat(1024 * 1024 + 1) })
    expect((await answer(large)).status).toBe(413)
    expect((await answer(signedRequest(privateKey, 'nonsense'))).status).toBe(400)
    expect((await answer(signedRequest(privateKey, { type: 2 }))).status).toBe(400)
  })
  test('a command shows “is thinking...” at once and is answered, however long the model takes', async () => {
    const { discord, channel, ann, bot } = harness
    bot.engine.hold()
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    expect(discord.read(channel).map(({ isThinking }) => isThinking)).toEqual([true])
    bot.engine.release()
    expect((await reply(discord, channel)).content).toContain(CAPTION)
  })
  test('a reply that is ready before Discord read the initial response waits for it', async () => {
    const { discord, channel, ann, bot } = harness
    const invocation = { command: 'caption', options: { image: png() } }
    const { interaction, payload } = discord.prepare(ann, channel, invocation)
    let read = () => {}
    const answer = answerOf(() => new Promise((resolve) => (read = resolve)))
    const post = vi.spyOn(bot.platform, 'post')
    await answer(signedRequest(discord.privateKey, payload))
    await until(() => post.mock.calls.length > 0)
    discord.acknowledge(interaction)
    read()
    expect((await reply(discord, channel)).content).toContain(CAPTION)
    expect(bot.reported).toEqual([])
  })
  test('when Discord takes long to read the initial response, the reply is retried', async () => {
    const { discord, channel, ann, bot } = harness
    const invocation = { command: 'caption', options: { image: png() } }
    const { interaction, payload } = discord.prepare(ann, channel, invocation)
    const response = await answerOf()(signedRequest(discord.privateKey, payload))
    expect(await response.json()).toEqual({ type: 5, data: { flags: 0 } })
    await until(() => bot.reported.includes('discord_early'))
    discord.acknowledge(interaction)
    expect((await reply(discord, channel)).content).toContain(CAPTION)
  })
  test('the same interaction three times is answered once', async () => {
    await harness.close()
    harness = await openHarness({ deliveries: 3 })
    const { discord, channel, ann, bot } = harness
    await until(() => discord.world.commandPuts > 0)
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    await reply(discord, channel)
    await bot.processor.drained()
    expect(bot.engine.asks).toHaveLength(1)
    expect(discord.calls.filter((call) => call.startsWith('PATCH'))).toHaveLength(1)
    expect(repliesIn(discord, channel)).toHaveLength(1)
  })
  test('settings are confirmed in the response', async () => {
    const { discord, channel, ann, bot } = harness
    await discord.invoke(ann, channel, {
      command: 'caption-privacy',
      options: { 'opt-out': true },
      locale: 'de',
    })
    expect(repliesIn(discord, channel, ann)).toMatchObject([
      { content: 'Ich beschreibe deine Bilder nicht mehr.', isEphemeral: true },
    ])
    expect(await bot.preferences.hasOptedOut(`discord/${ann}`)).toBe(true)
  })
  test('when a question cannot be recorded the response says so', async () => {
    const { discord, channel, ann, bot } = harness
    await bot.processor.shutdown()
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    expect(repliesIn(discord, channel, ann)).toMatchObject([
      { content: 'I am just starting again. Please try once more in a minute.', isEphemeral: true },
    ])
  })
})
