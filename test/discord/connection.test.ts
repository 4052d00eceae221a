// Conversations over the gateway: an unmodified discord.js client -> what people read.

import { afterEach, describe, expect, test, vi } from 'vitest'
import { ALT_TEXT as CAPTION } from '../serve/double.ts'
import { until } from '../until.ts'
import { startDiscordDouble } from './double/index.ts'
import { type Harness, openHarness, png, quiet, repliesIn, reply, startBot } from './harness.ts'

let harness: Harness
afterEach(() => harness.close())

/** A harness, and the text that mentions the bot. */
async function open(options: Parameters<typeof openHarness>[0] = {}) {
  harness = await openHarness(options)
  const { discord, bot } = harness
  await until(() => discord.world.commandPuts > 0)
  return { ...harness, bot, at: `<@${discord.botId}>` }
}

describe('without the privileged intent', () => {
  test('a mention with a picture is answered by a reply with the caption, ready to copy', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    const { content, pinged, isEphemeral } = await reply(discord, channel, { to: asked })
    expect(content).toBe(
      `-# Alt text, ready to copy:\n\`\`\`\n${CAPTION}\n\`\`\`\n-# Described by a machine; it can be wrong.`,
    )
    expect({ pinged, isEphemeral }).toEqual({ pinged: [], isEphemeral: false })
    await bot.processor.drained()
    expect(discord.world.typing).toEqual([channel])
    expect(bot.reported).toEqual([])
  })
  test('follow-ups by reply know all turns before, without another download of the picture', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = discord.say(ann, channel, { content: `${at} how many?`, files: [png()] })
    const first = await reply(discord, channel, { to: asked })
    await bot.processor.drained()
    const second = discord.say(ann, channel, { content: 'and what colour?', replyTo: first.id })
    const secondReply = await reply(discord, channel, { to: second })
    expect(secondReply.content).toContain('answer 2 to and what colour?')
    await bot.processor.drained()
    const third = discord.say(ann, channel, { content: 'why?', replyTo: secondReply.id })
    expect((await reply(discord, channel, { to: third })).content).toContain('answer 3 to why?')
    expect(discord.world.served).toHaveLength(1)
  })
  test('“thanks” in reply to an unknown message, and talk of others, stay without an answer', async () => {
    const { discord, channel, ann, bot, at } = await open()
    const ben = discord.addUser('ben')
    const robot = discord.addUser('robot', true)
    const theirs = discord.say(ben, channel, { content: 'hello', files: [png()] })
    discord.say(ann, channel, { content: 'what is this?', replyTo: theirs })
    discord.say(robot, channel, { content: at, files: [png()] })
    discord.say(ann, channel, { content: at, files: [png()], webhook: true })
    discord.say(ann, channel, { content: '@everyone look', files: [png()], mentionsEveryone: true })
    await quiet(bot)
    expect(repliesIn(discord, channel)).toEqual([])
    expect(bot.engine.asks).toEqual([])
  })
  test('a reply to a picture that Discord hides is answered with the way that works', async () => {
    const { discord, channel, ann, at } = await open({ allowsMessageContent: false })
    const ben = discord.addUser('ben')
    const posted = discord.say(ben, channel, { files: [png()] })
    const asked = discord.say(ann, channel, { content: at, replyTo: posted })
    const { content } = await reply(discord, channel, { to: asked })
    expect(content).toContain('I found no picture.')
    expect(content).toContain('-# Choose “Describe this image” in a message’s menu')
  })
  test('direct messages are about their last picture', async () => {
    const { discord, ann, bot } = await open()
    const direct = discord.direct(ann)
    discord.say(ann, direct, { files: [png()] })
    expect((await reply(discord, direct)).content).toContain(CAPTION)
    await bot.processor.drained()
    discord.say(ann, direct, { content: 'how many?' })
    expect((await reply(discord, direct, { count: 2 })).content).toContain('answer 1 to how many?')
  })
})

describe('pictures', () => {
  test('of a replied-to or forwarded message are found, and the caption of a spoiler is a spoiler', async () => {
    const { discord, channel, ann, at } = await open({ messageContent: true })
    const ben = discord.addUser('ben')
    const posted = discord.say(ben, channel, { files: [png({ spoiler: true })] })
    const asked = discord.say(ann, channel, { content: `${at} what is it?`, replyTo: posted })
    expect((await reply(discord, channel, { to: asked })).content).toContain('||answer 1 to what is it?||')
    const direct = discord.direct(ann)
    discord.say(ann, direct, { forward: posted })
    expect((await reply(discord, direct)).content).toContain(`||\`\`\`\n${CAPTION}\n\`\`\`||`)
  })
  test('several are answered in one numbered reply', async () => {
    const { discord, channel, ann, at } = await open()
    const broken = png({ filename: 'broken.png', bytes: new Uint8Array([1, 2, 3]) })
    const asked = discord.say(ann, channel, { content: at, files: [png(), broken, png()] })
    const { content } = await reply(discord, channel, { to: asked })
    expect(content).toMatch(/\*\*1\.\*\*\n```\n.*\*\*2\.\*\* I cannot read that file.*\*\*3\.\*\*/s)
    expect(repliesIn(discord, channel)).toHaveLength(1)
  })
  test('whose URL has expired are downloaded from a fresh one, without a token', async () => {
    const { discord, channel, ann, at } = await open()
    const asked = discord.say(ann, channel, { content: at, files: [png({ expired: true })] })
    expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
    expect(discord.calls).toContain(`GET /channels/${channel}/messages/${asked}`)
  })
  test('outside Discord’s hosts are not downloaded', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = discord.say(ann, channel, { content: at, files: [png()], isSilent: true })
    const event = discord.eventOf(channel, asked) as { attachments: { url: string }[] }
    const foreign = event.attachments.map((each) => ({ ...each, url: 'http://169.254.169.254/latest' }))
    for (const { message } of discord.world.channels.get(channel)!.messages) message.attachments = []
    discord.dispatch('MESSAGE_CREATE', { ...event, attachments: foreign })
    expect((await reply(discord, channel, { to: asked })).content).toContain('no longer there')
    expect(bot.engine.asks).toEqual([])
  })
  test('that are no pictures are named as such', async () => {
    const { discord, channel, ann, at } = await open()
    const pdf = png({ filename: 'notes.pdf', contentType: 'application/pdf', bytes: Buffer.from('%PDF-1.7') })
    const asked = discord.say(ann, channel, { content: at, files: [pdf] })
    expect((await reply(discord, channel, { to: asked })).content).toMatch(
      /^I cannot read that file as a picture/,
    )
  })
  test('added to a message later are answered, other edits are not', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = discord.say(ann, channel, { content: at })
    await reply(discord, channel, { to: asked })
    discord.addFiles(channel, asked, [png()])
    expect((await reply(discord, channel, { to: asked, count: 2 })).content).toContain(CAPTION)
    discord.addFiles(channel, asked, [png()])
    await quiet(bot)
    expect(repliesIn(discord, channel)).toHaveLength(2)
  })
})

describe('edits after a restart', () => {
  const restarted = async () => {
    const next = await startBot(harness.discord, { folder: harness.folder, messageContent: true })
    harness.bot = next
  }
  afterEach(() => harness.bot.close())
  const edit = async (asked: string, more: object = {}) => {
    const { discord, channel, bot } = harness
    const event = discord.eventOf(channel, asked) as object
    discord.dispatch('MESSAGE_UPDATE', { ...event, ...more })
    await quiet(bot)
  }

  test('that add a mention or a picture are answered, once', async () => {
    const { discord, channel, ann, at, bot } = await open({ messageContent: true })
    const silent = discord.say(ann, channel, { content: 'how many?', files: [png()] })
    const bare = discord.say(ann, channel, { content: at })
    await reply(discord, channel, { to: bare })
    await bot.close()
    await restarted()
    const mention = { content: `${at} how many?`, mentions: [{ id: discord.botId, username: 'g' }] }
    for (let round = 0; round < 2; round++) await edit(silent, mention)
    expect((await reply(discord, channel, { to: silent })).content).toContain('answer 1 to how many?')
    discord.addFiles(channel, bare, [png()])
    await quiet(harness.bot)
    await edit(bare)
    expect(repliesIn(discord, channel).map(({ replyTo }) => replyTo)).toEqual([bare, silent, bare])
  })
  test('that change nothing are not answered again, whatever the first answer was', async () => {
    const { discord, channel, ann, at, bot } = await open({ messageContent: true })
    const broken = png({ bytes: new Uint8Array([1, 2, 3]) })
    const asked = [
      discord.say(ann, channel, { content: at, files: [png()] }),
      discord.say(ann, channel, { content: at, files: [broken] }),
      discord.say(ann, channel, { content: `${at} thanks` }),
    ]
    discord.say(ann, channel, { content: 'look', files: [png()] })
    for (const to of asked) await reply(discord, channel, { to })
    await bot.close()
    await restarted()
    for (const { message } of [...discord.world.channels.get(channel)!.messages])
      if (message.author.id === ann) await edit(message.id)
    expect(repliesIn(discord, channel)).toHaveLength(3)
  })
  test('that remove a picture delete the answers about it', async () => {
    const { discord, channel, ann, at, bot } = await open({ messageContent: true })
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    const kept = discord.say(ann, channel, { content: at, files: [png()] })
    for (const to of [asked, kept]) await reply(discord, channel, { to })
    await bot.close()
    await restarted()
    await edit(kept)
    await edit(asked, { attachments: [] })
    expect(repliesIn(discord, channel).map(({ replyTo }) => replyTo)).toEqual([kept])
  })
})

describe('threads', () => {
  test('an answer opens one on the message, called by the caption, and a question in it needs no mention', async () => {
    const { discord, channel, ann, at, bot } = await open({ answers: 'thread', messageContent: true })
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    expect((await reply(discord, asked)).content).toContain(CAPTION)
    await bot.processor.drained()
    expect(discord.world.channels.get(asked)).toMatchObject({ name: CAPTION, parent_id: channel })
    const next = discord.say(ann, asked, { content: 'How many are there?' })
    expect((await reply(discord, asked, { to: next })).content).toContain('answer 1 to How many are there?')
    discord.say(ann, asked, { content: 'Nice.' })
    await quiet(bot)
    expect(repliesIn(discord, asked)).toHaveLength(2)
    expect(repliesIn(discord, channel)).toEqual([])
  })
  test('one that a person opened on a picture is about that picture', async () => {
    const { discord, channel, ann, at } = await open({ messageContent: true })
    const posted = discord.say(ann, channel, { files: [png()] })
    const thread = discord.addThread(channel, posted)
    const asked = discord.say(ann, thread, { content: `${at} how many?` })
    expect((await reply(discord, thread, { to: asked })).content).toContain('answer 1 to how many?')
  })
  test('of an answer that is forgotten, the picture is found again', async () => {
    const { discord, channel, ann, at, bot, folder } = await open()
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    const { id } = await reply(discord, channel, { to: asked })
    await bot.close()
    const next = await startBot(discord, { folder: `${folder}/new` })
    const again = discord.say(ann, channel, { content: `${at} how many?`, replyTo: id })
    expect((await reply(discord, channel, { to: again })).content).toContain('answer 1 to how many?')
    await next.close()
  })
  test('a question in a thread without the bot stays without an answer', async () => {
    const { discord, channel, ann, bot } = await open({ messageContent: true })
    const posted = discord.say(ann, channel, { files: [png()] })
    discord.say(ann, discord.addThread(channel, posted), { content: 'What is this?' })
    await quiet(bot)
    expect(bot.engine.asks).toEqual([])
  })
})

describe('where the bot may not', () => {
  test('open a thread, it replies', async () => {
    const { discord, channel, ann, at } = await open({ answers: 'thread' })
    discord.forbid(channel, 'CREATE_PUBLIC_THREADS')
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
  })
  test('write in threads, it replies', async () => {
    const { discord, channel, ann, at } = await open({ answers: 'thread' })
    discord.forbid(channel, 'SEND_MESSAGES_IN_THREADS')
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    expect((await reply(discord, channel, { to: asked })).content).toContain(CAPTION)
  })
  test('open a second thread on a message, it uses the one that is there', async () => {
    const { discord, channel, ann, at } = await open({ answers: 'thread' })
    const asked = discord.say(ann, channel, { content: at, files: [png()], isSilent: true })
    discord.addThread(channel, asked)
    discord.dispatch('MESSAGE_CREATE', discord.eventOf(channel, asked))
    expect((await reply(discord, asked)).content).toContain(CAPTION)
  })
  test('read the history, it posts without a reference', async () => {
    const { discord, channel, ann, at } = await open()
    discord.forbid(channel, 'READ_MESSAGE_HISTORY')
    discord.say(ann, channel, { content: at, files: [png()] })
    const { content, replyTo } = await reply(discord, channel)
    expect([content.includes(CAPTION), replyTo]).toEqual([true, undefined])
  })
  test('post, it answers in a direct message and says why', async () => {
    const { discord, channel, ann, at } = await open()
    discord.forbid(channel, 'SEND_MESSAGES')
    discord.say(ann, channel, { content: at, files: [png()] })
    const { content } = await reply(discord, discord.direct(ann))
    expect(content).toMatch(/^I am not allowed to answer in that channel, so I answer here\.\n/)
    expect(content).toContain(CAPTION)
  })
  test('reach the asker, it gives up and reports that', async () => {
    const { discord, channel, ann, at, bot } = await open()
    discord.forbid(channel, 'SEND_MESSAGES')
    discord.world.closedDirectMessages.add(ann)
    discord.say(ann, channel, { content: at, files: [png()] })
    await until(() => bot.reported.length > 0)
    await bot.processor.drained()
    expect(bot.reported).toEqual(['cannot_reply'])
  })
})

describe('deleted messages', () => {
  test('take their replies with them, one by one and in bulk', async () => {
    const { discord, channel, ann, at, bot } = await open()
    const asked = [1, 2, 3].map(() => discord.say(ann, channel, { content: at, files: [png()] }))
    for (const each of asked) await reply(discord, channel, { to: each })
    await bot.processor.drained()
    discord.deleteMessage(channel, asked[0]!)
    await until(() => repliesIn(discord, channel).length === 2)
    discord.deleteMessage(channel, asked[1]!, asked[2]!)
    await until(() => repliesIn(discord, channel).length === 0)
    expect(bot.reported).toEqual([])
  })
  test('that the model is working on get no answer', async () => {
    const { discord, channel, ann, at, bot } = await open()
    bot.engine.hold()
    const asked = discord.say(ann, channel, { content: at, files: [png()] })
    await until(() => bot.engine.asks.length > 0)
    const retract = vi.spyOn(bot.processor, 'retract')
    discord.deleteMessage(channel, asked)
    await until(() => retract.mock.settledResults[0]?.type === 'fulfilled')
    bot.engine.release()
    await bot.processor.drained()
    expect(repliesIn(discord, channel)).toEqual([])
  })
})

test('a question that cannot be recorded is answered with the reason', async () => {
  const { discord, channel, ann, at, bot } = await open()
  await bot.processor.shutdown()
  const asked = discord.say(ann, channel, { content: at, files: [png()] })
  expect((await reply(discord, channel, { to: asked })).content).toMatch(/^I am just starting again/)
  await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
  const { content, isEphemeral } = await reply(discord, channel, { viewer: ann, count: 2 })
  expect([content, isEphemeral]).toEqual([expect.stringMatching(/^I am just starting again/), true])
})

describe('settings', () => {
  test('automatic captions are off until a command switches them on, which the channel reads', async () => {
    const { discord, channel, ann, bot } = await open({ messageContent: true })
    discord.say(ann, channel, { content: 'my lunch', files: [png()] })
    await quiet(bot)
    expect(repliesIn(discord, channel)).toEqual([])
    await discord.invoke(ann, channel, { command: 'caption-settings', options: { automatic: true } })
    const { content, isEphemeral } = await reply(discord, channel)
    expect({ content, isEphemeral }).toEqual({
      content: 'From now on I describe every picture posted in this channel.',
      isEphemeral: false,
    })
    const posted = discord.say(ann, channel, { content: 'my lunch', files: [png()] })
    expect((await reply(discord, channel, { to: posted })).content).toContain(CAPTION)
  })
  test('questions of others about pictures of people who opted out are not answered', async () => {
    const { discord, channel, ann, at, bot } = await open({ messageContent: true })
    const ben = discord.addUser('ben')
    await discord.invoke(ben, channel, { command: 'caption-privacy', options: { 'opt-out': true } })
    expect((await reply(discord, channel, { viewer: ben })).isEphemeral).toBe(true)
    const posted = discord.say(ben, channel, { files: [png()] })
    const asked = discord.say(ann, channel, { content: at, replyTo: posted })
    expect((await reply(discord, channel, { to: asked })).content).toMatch(
      /^The person who posted that picture asked me/,
    )
    expect(bot.engine.asks).toEqual([])
  })
  test('the language is that of the server, or of the user of a command', async () => {
    const { discord, channel, ann, at } = await open({ locale: 'fr' })
    const asked = discord.say(ann, channel, { content: at })
    expect((await reply(discord, channel, { to: asked })).content).toMatch(/image/)
    await discord.invoke(ann, channel, { command: 'ask', options: { question: 'x' }, locale: 'de' })
    expect((await reply(discord, channel, { viewer: ann, count: 2 })).content).toMatch(/^Ich finde kein Bild/)
  })
})

describe('commands', () => {
  test('the answer to /caption replaces “is thinking...”, and /ask and replies are about the same picture', async () => {
    const { discord, channel, ann, bot } = await open()
    await discord.invoke(ann, channel, { command: 'caption', options: { image: png() } })
    const first = await reply(discord, channel)
    expect(first.content).toContain(CAPTION)
    await bot.processor.drained()
    await discord.invoke(ann, channel, { command: 'ask', options: { question: 'how many?' } })
    expect((await reply(discord, channel, { count: 2 })).content).toContain('answer 1 to how many?')
    await bot.processor.drained()
    const asked = discord.say(ann, channel, { content: `why?`, replyTo: first.id })
    expect((await reply(discord, channel, { to: asked })).content).toContain('to why?')
    expect(bot.reported).toEqual([])
  })
  test('“Describe this image” is answered for its user alone', async () => {
    const { discord, channel, ann } = await open()
    const ben = discord.addUser('ben')
    const target = discord.say(ben, channel, { files: [png()] })
    await discord.invoke(ann, channel, { command: 'Describe this image', target })
    const { content, isEphemeral } = await reply(discord, channel, { viewer: ann })
    expect([content.includes(CAPTION), isEphemeral]).toEqual([true, true])
    expect(repliesIn(discord, channel, ben)).toEqual([])
  })
  test('the asker alone sees a problem, and the public “is thinking...” is deleted', async () => {
    const { discord, channel, ann, bot } = await open()
    const broken = png({ bytes: new Uint8Array([1, 2, 3]) })
    const post = vi.spyOn(bot.platform, 'post')
    const after = until(() => post.mock.calls.length > 0)
    discord.fault({ on: /callback$/, after })
    await discord.invoke(ann, channel, { command: 'caption', options: { image: broken } })
    const { content, isEphemeral } = await reply(discord, channel, { viewer: ann })
    expect(content).toMatch(/^I cannot read that file as a picture/)
    expect(isEphemeral).toBe(true)
    expect(discord.read(channel)).toEqual([])
    expect(bot.reported).toEqual([])
  })
  test('they show “is thinking...” in time though the model is busy', async () => {
    const { discord, channel, ann, bot } = await open()
    bot.engine.hold()
    await discord.invoke(ann, channel, {
      command: 'caption',
      options: { image: png() },
    })
    await until(() => discord.read(channel).some(({ isThinking }) => isThinking))
    bot.engine.release()
    await reply(discord, channel)
  })
})

describe('a start that cannot succeed says what to do', () => {
  test('about the intent', async () => {
    harness = await openHarness({ isOffline: true })
    const other = await startDiscordDouble({ allowsMessageContent: false })
    await expect(startBot(other, { folder: harness.folder, messageContent: true })).rejects.toThrow(
      /Message Content intent.*developers\/applications.*Privileged Gateway Intents/,
    )
    await other.close()
  })
  test('about the token', async () => {
    harness = await openHarness({ isOffline: true })
    const started = startBot(harness.discord, { folder: harness.folder, token: 'an.old.token' })
    await expect(started).rejects.toMatchObject({ kind: 'setup', code: 'discord_token' })
    await expect(started).rejects.not.toThrow(/an\.old\.token/)
  })
})
