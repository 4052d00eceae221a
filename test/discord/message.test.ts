// Message payloads -> questions: which address the bot, what they ask, and about which picture.

import { describe, expect, test } from 'vitest'
import * as translation from '../../src/discord/message.ts'
import { parseMessage } from '../../src/discord/payloads.ts'
import { isExpired } from '../../src/discord/pictures.ts'
import {
  ANN,
  attachment,
  BEN,
  CHANNEL,
  ME,
  mentioning,
  message,
  person,
  replying,
  THREAD,
} from './payloads.ts'

type MessageContext = translation.MessageContext
const questionOfMessage = (payload: unknown, where: MessageContext) =>
  translation.questionOfMessage(parseMessage(payload), where)
const questionOfEdit = (payload: unknown, where: MessageContext) =>
  translation.questionOfEdit(parseMessage(payload), where)
const missingReference = (payload: unknown, where: MessageContext) =>
  translation.missingReference(parseMessage(payload), where)

const context: MessageContext = { me: ME, now: 1_000, messageContent: false }
const withContent: MessageContext = { ...context, messageContent: true }
const picture = attachment('900000000000000400')
const direct = { guild_id: undefined, channel_type: 1, member: undefined }
const inThread = { channel_id: THREAD, channel_type: 11 }
const botAnswer = message({
  id: '900000000000000090',
  author: person(ME, { bot: true }),
  content: 'An answer',
})
const hers = message({ id: '900000000000000091', author: person(BEN), attachments: [picture] })

const triggerOf = (payload: unknown, where: MessageContext = context) =>
  questionOfMessage(payload, where)?.trigger

describe('which messages are questions', () => {
  test('a mention by id in either spelling is one, with the words around it', () => {
    const spellings = [`<@${ME}> how many?`, `<@!${ME}>   how many?`, `how <@${ME}>\nmany?`]
    const questions = spellings.map((content) => questionOfMessage(mentioning(content), context))
    expect(questions.map((question) => [question?.trigger, question?.text])).toEqual([
      ['mention', 'how many?'],
      ['mention', 'how many?'],
      ['mention', 'how many?'],
    ])
  })
  test('a mention of everyone, of a role, or of another person is none', () => {
    expect(triggerOf(message({ content: '@everyone', mention_everyone: true }))).toBeUndefined()
    expect(triggerOf(message({ content: '<@&77>', mention_roles: ['77'] }))).toBeUndefined()
    expect(triggerOf(message({ content: `<@${BEN}>`, mentions: [person(BEN)] }))).toBeUndefined()
  })
  test('bots, webhooks, the bot itself and system messages are never answered', () => {
    const asked = `<@${ME}> hello?`
    const silent = [
      mentioning(asked, { author: person(BEN, { bot: true }) }),
      mentioning(asked, { webhook_id: '900000000000000500' }),
      mentioning(asked, { author: person(ME, { bot: true }) }),
      mentioning(asked, { type: 21 }),
      mentioning(asked, { type: 18 }),
      mentioning(asked, { type: 7 }),
      mentioning(asked, { author: undefined }),
    ]
    expect(silent.map((payload) => triggerOf(payload, withContent))).toEqual(silent.map(() => undefined))
  })
  test('every message to the bot alone is one', () => {
    expect(triggerOf(message({ ...direct, content: 'what is it?' }))).toBe('direct')
    expect(triggerOf(message({ ...direct, attachments: [picture] }))).toBe('direct')
  })
  test('a reply to an answer of the bot is a follow-up, whether it pings or not', () => {
    const question = questionOfMessage(mentioning('and the cat?', replying(botAnswer)), context)
    expect(question).toMatchObject({ trigger: 'follow_up', text: 'and the cat?' })
    expect(triggerOf(message({ content: 'and the cat?', ...replying(botAnswer) }))).toBe('follow_up')
    // Without the intent Discord sends no text, so the message asks nothing.
    expect(triggerOf(message({ content: '', ...replying(botAnswer) }))).toBeUndefined()
  })
  test('a reply that names the bot is a mention', () => {
    expect(triggerOf(mentioning(`<@${ME}> and now?`, replying(botAnswer)))).toBe('mention')
    expect(triggerOf(mentioning('', { ...replying(botAnswer), attachments: [picture] }))).toBe('mention')
  })
  test('in a thread with the intent a question needs no mention, and talk is no question', () => {
    const asked = message({ ...inThread, content: 'What colour is it?' })
    expect(triggerOf(asked, withContent)).toBe('follow_up')
    expect(triggerOf(asked, context)).toBeUndefined()
    expect(triggerOf({ ...asked, channel_type: undefined }, { ...withContent, isThread: true })).toBe(
      'follow_up',
    )
    expect(triggerOf(message({ ...inThread, content: 'Nice one.' }), withContent)).toBeUndefined()
    const toBen = { content: `<@${BEN}> what is it?`, mentions: [person(BEN)] }
    expect(triggerOf(message({ ...inThread, ...toBen }), withContent)).toBeUndefined()
    expect(
      triggerOf(message({ ...inThread, content: 'Is it?', ...replying(hers) }), withContent),
    ).toBeUndefined()
    expect(triggerOf(message({ content: 'What colour is it?' }), withContent)).toBeUndefined()
  })
  test('a picture without a mention may get an automatic caption, whatever its text', () => {
    const posted = message({ attachments: [picture], content: 'my lunch' })
    expect(questionOfMessage(posted, withContent)).toMatchObject({
      trigger: 'automatic',
      text: '',
      owner: ANN,
    })
  })
  test('a forwarded picture without a mention gets none: its owner is unknown', () => {
    const forward = message({ message_snapshots: [{ message: { content: '', attachments: [picture] } }] })
    expect(questionOfMessage(forward, withContent)).toBeUndefined()
  })
})

describe('which pictures are meant', () => {
  const ask = (more: Record<string, unknown>) => questionOfMessage(mentioning(`<@${ME}>`, more), context)
  const idsOf = (more: Record<string, unknown>) => ask(more)?.pictures.map(({ id }) => id)
  const snapshots = (id: string) => [{ message: { content: '', attachments: [attachment(id)], type: 0 } }]

  test('its own before what it forwards, before what it replies to, before what that forwards', () => {
    const replied = { ...hers, message_snapshots: snapshots('4') }
    const whole = { attachments: [attachment('1')], message_snapshots: snapshots('2'), ...replying(replied) }
    expect(idsOf(whole)).toEqual(['1'])
    expect(idsOf({ ...whole, attachments: [] })).toEqual(['2'])
    expect(idsOf(replying(replied))).toEqual(['900000000000000400'])
    expect(idsOf(replying({ ...replied, attachments: [] }))).toEqual(['4'])
  })
  test('the owner is their author; for a forward it is unknown', () => {
    expect(ask({ attachments: [picture] })?.owner).toBe(ANN)
    expect(ask(replying(hers))?.owner).toBe(BEN)
    expect(ask({ message_snapshots: snapshots('2') })?.owner).toBeUndefined()
  })
  test('each has the message from which a fresh URL can be read', () => {
    expect(ask(replying(hers))?.pictures[0]?.message).toEqual({ channel: CHANNEL, id: hers['id'] })
    expect(ask({ attachments: [picture] })?.pictures[0]?.message?.id).toBe('900000000000000100')
  })
  test('files count by their type, and by their name where Discord gives none', () => {
    const files = [
      attachment('1', { content_type: 'application/pdf', filename: 'a.png' }),
      attachment('2', { content_type: undefined, filename: 'b.JPEG' }),
      attachment('3', { content_type: null, filename: 'c.txt' }),
      attachment('4', { content_type: 'image/svg+xml', filename: 'd' }),
    ]
    expect(idsOf({ attachments: files })).toEqual(['2', '4'])
  })
  test('a file that is no picture is used when there is no other, for an answer that says so', () => {
    const pdf = attachment('1', { content_type: 'application/pdf', filename: 'a.pdf' })
    expect(idsOf({ attachments: [pdf] })).toEqual(['1'])
    expect(idsOf({ attachments: [pdf], ...replying(hers) })).toEqual(['900000000000000400'])
    expect(triggerOf(message({ attachments: [pdf] }), withContent)).toBeUndefined()
  })
  test('a spoiler is one by its flag or its name', () => {
    const files = [
      attachment('1', { flags: 8 }),
      attachment('2', { filename: 'SPOILER_x.png' }),
      attachment('3', { flags: 4 }),
    ]
    expect(ask({ attachments: files })?.pictures.map(({ spoiler }) => spoiler)).toEqual([
      true,
      true,
      undefined,
    ])
  })
  test('the media proxy makes a smaller JPEG of a picture that is too large or unsupported', () => {
    const large = attachment('1', { size: 30_000_000, width: 8_000, height: 4_000 })
    const heic = attachment('2', { content_type: 'image/heic', filename: 'x.heic' })
    const many = attachment('3', { size: 9_000_000, width: 12_000, height: 9_000 })
    const pictures = ask({ attachments: [large, heic, many, picture] })?.pictures ?? []
    expect(pictures.map(({ isUnreadable }) => isUnreadable)).toEqual([true, true, true, undefined])
    const urls = pictures.map(({ smallerUrl = '' }) => smallerUrl)
    expect(urls.map((url) => new URL(url).searchParams.get('format'))).toEqual([
      'jpeg',
      'jpeg',
      'jpeg',
      'jpeg',
    ])
    expect(urls[0]).toMatch(/^https:\/\/media\.discordapp\.net\/.*hm=00ff.*width=2048&height=1024$/)
  })
  test('a signed URL contains its expiry', () => {
    const url = 'https://cdn.discordapp.com/a/b/c.png?ex=64&is=1&hm=2'
    expect([isExpired(url, 99_999), isExpired(url, 100_000)]).toEqual([false, true])
    expect(isExpired('https://cdn.discordapp.com/a/b/c.png', 1e15)).toBe(false)
  })
})

describe('its conversations', () => {
  const namesOf = (payload: unknown, where = context) => questionOfMessage(payload, where)?.conversations
  const own = 'discord/message/900000000000000100'
  const lastAsked = `discord/asker/${CHANNEL}/${ANN}`

  test('in a channel: the message, and its asker’s last question', () => {
    expect(namesOf(mentioning(`<@${ME}>`))).toEqual([own, lastAsked])
  })
  test('first the message that it replies to', () => {
    const answered = 'discord/message/900000000000000090'
    expect(namesOf(mentioning(`<@${ME}> and?`, replying(botAnswer)))).toEqual([answered, own, lastAsked])
    expect(namesOf(mentioning('and?', replying(botAnswer)))).toEqual([answered, own])
    // A reply to another person's text is not about the asker's last question.
    const theirs = message({ id: '92', author: person(BEN), content: 'hello' })
    expect(namesOf(mentioning(`<@${ME}>`, replying(theirs)))).toEqual(['discord/message/92', own])
  })
  test('its thread by the message of the thread, and direct messages by their channel', () => {
    expect(namesOf(mentioning(`<@${ME}>`, inThread))?.[0]).toBe(`discord/message/${THREAD}`)
    expect(namesOf(message(direct))).toEqual([`discord/channel/${CHANNEL}`, own])
  })
  test('the message replied to is fetched where Discord left it out, unless it is not needed', () => {
    const left = replying(hers)
    const { referenced_message: _, ...without } = left
    const wanted = { channel: CHANNEL, message: hers['id'] }
    expect(missingReference(mentioning(`<@${ME}>`, without), context)).toEqual(wanted)
    expect(missingReference(mentioning(`<@${ME}>`, left), context)).toBeUndefined()
    expect(missingReference(mentioning(`<@${ME}>`, replying(null)), context)).toBeUndefined()
    expect(
      missingReference(mentioning(`<@${ME}>`, { ...without, attachments: [picture] }), context),
    ).toBeUndefined()
    expect(missingReference(message(without), context)).toBeUndefined()
  })
})

describe('payloads', () => {
  test('unknown fields and missing fields do no harm', () => {
    const bare = { id: '1', channel_id: '2', author: { id: ANN }, content: 'hello' }
    expect(questionOfMessage({ ...bare, shiny_new_field: { deep: [1] } }, context)).toMatchObject({
      id: 'discord/message/1',
      trigger: 'direct',
    })
    expect(
      triggerOf(message({ attachments: null, mentions: null, embeds: null, referenced_message: null })),
    ).toBe(undefined)
  })
  test('an invalid message is refused without its contents in the error', () => {
    const secret = { id: '1', channel_id: 2, author: { id: ANN }, content: 'a secret' }
    expect(() => questionOfMessage(secret, context)).toThrow(/channel_id/)
    expect(() => questionOfMessage(secret, context)).not.toThrow(/secret/)
    expect(() => questionOfMessage(null, context)).toThrow(/Expected a message from Discord/)
  })
  test('a message that got a picture by an edit is a question of its own', () => {
    const edited = mentioning(`<@${ME}>`, { attachments: [picture] })
    expect(questionOfEdit(edited, context)?.id).toBe('discord/message/900000000000000100/edited')
    expect(questionOfEdit(mentioning(`<@${ME}> other words`), context)).toBeUndefined()
  })
  test('a picture that Discord edits in for a link is of the same question, and a new mention is one', () => {
    const image = { url: 'https://a.example/a.png', proxy_url: 'https://images-ext-1.discordapp.net/a.png' }
    const asked = parseMessage(mentioning(`<@${ME}> https://a.example`))
    const before = translation.earlierOf(asked, context)
    const question = translation.questionOfMessage(asked, context)!
    expect(translation.mayGetPictures(asked, question)).toBe(true)
    const edited = parseMessage(mentioning(`<@${ME}> https://a.example`, { embeds: [{ image }] }))
    expect(translation.questionOfEdit(edited, context, before)).toMatchObject({
      id: question.id,
      pictures: [{ url: image.proxy_url }],
    })
    const unasked = translation.earlierOf(parseMessage(message()), context)
    expect(translation.questionOfEdit(asked, context, unasked)?.id).toBe(question.id)
    expect(translation.questionOfEdit(asked, context, before)).toBeUndefined()
  })
  test('mentions of others are removed from a question, and custom emoji become names', () => {
    const content = `<@${ME}> does <@${BEN}> in <#5> like <:apple:77>?`
    expect(questionOfMessage(mentioning(content), context)?.text).toBe('does in like :apple:?')
  })
})
