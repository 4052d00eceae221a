// What people write in chats -> what they read: captions, answers and fixed replies, with an engine double that knows or does
// not know a picture.

import { beforeEach, describe, expect, test } from 'vitest'
import { en } from '../../src/i18n/en.ts'
import { LOCALES, messagesFor } from '../../src/i18n/languages.ts'
import { ALT_TEXT } from '../serve/double.ts'
import { type Chat, openTestChat } from './chat.ts'

let chat: Chat

beforeEach(() => {
  chat = openTestChat()
})

describe('a mention with a picture', () => {
  test.each([
    'our new mascot!',
    'FYI',
    'hey',
    '🎉',
    'Bella',
    'thanks!',
    'alt',
    'beschreibe das Bild',
    'help',
  ])('and the words %j gets a caption', async (text) => {
    await chat.ask(chat.question('a', { text }))
    expect(chat.texts()).toEqual([ALT_TEXT])
    expect(chat.posted[0]!.reply.parts[0]!.kind).toBe('alt')
  })

  test('and a question gets an answer', async () => {
    await chat.ask(chat.question('a', { text: 'Our new mascot! What is it?' }))
    expect(chat.texts()).toEqual(['answer 1 to Our new mascot! What is it?'])
  })
})

describe('words without a picture', () => {
  const bare = (text: string, more = {}) =>
    chat.question('a', { text, pictures: [], owner: undefined, ...more })

  test.each([
    ['thank you so much', en.small.thanks],
    ['hello', en.small.greeting],
    ['who are you?', en.small.who],
    ['help', en.home.how[0]!],
    ['cool', en.small.reaction],
    ['no', en.small.denial],
    ['no, wrong!', en.small.denial],
    ['Das stimmt nicht', en.small.denial],
    ['C’est faux', en.small.denial],
    ['違います', en.small.denial],
  ])('%j get a fixed reply', async (text, reply) => {
    await chat.ask(bare(text))
    expect(chat.texts()[0]).toContain(reply)
    expect(chat.posted[0]!.reply).toMatchObject({ ephemeral: false })
    expect(chat.engine.asks).toEqual([])
    expect(await chat.keys('conversations/')).toEqual([])
  })

  test('count towards no limit, and need no model that is open', async () => {
    chat = openTestChat({ engine: new Promise(() => {}) })
    for (let i = 0; i < 6; i++) await chat.ask(bare('thanks', { id: `t${i}` }))
    expect(chat.texts()).toEqual(Array(6).fill(en.small.thanks))
  })

  test.each(LOCALES)('are answered in the language of the asker: %s', async (locale) => {
    await chat.ask(bare('merci', { asker: { id: 'ann', locale } }))
    expect(chat.texts()).toEqual([messagesFor(locale).small.thanks])
  })

  test('that want a caption are told that there is no picture', async () => {
    await chat.ask(bare('describe this'))
    expect(chat.texts()).toEqual([en.problem.no_picture])
  })

  test('never concern a bystander', async () => {
    await chat.ask(chat.question('p'))
    for (const text of ['thanks', 'hello', 'wow']) {
      await chat.ask(bare(text, { id: text, trigger: 'follow_up', conversations: ['p'] }))
    }
    expect(chat.posted).toHaveLength(1)
  })
})

describe('a first direct message', () => {
  const direct = (id: string, more = {}) =>
    chat.question(id, { trigger: 'direct', pictures: [], owner: undefined, conversations: ['dm'], ...more })

  test('without a picture is told what the bot can do; the second is answered like any other', async () => {
    await chat.ask(direct('a', { text: 'hello' }), direct('b', { text: 'hello' }))
    expect(chat.texts()[0]).toContain(en.home.how[3])
    expect(chat.texts()[1]).toBe(en.small.greeting)
  })

  test('with a picture is told below the caption', async () => {
    const { pictures } = chat.question('p')
    await chat.ask(direct('a', { pictures }), direct('b', { pictures }))
    expect(chat.posted.map(({ reply }) => reply.notes.includes(en.firstDirect))).toEqual([true, false])
  })
})

describe('what the model does not know', () => {
  beforeEach(() => chat.engine.knows(() => false))

  test('is no alt text', async () => {
    await chat.ask(chat.question('a'))
    expect(chat.posted[0]!.reply.parts).toMatchObject([{ kind: 'answer', text: en.unknownPicture }])
  })

  test('is no turn of the conversation', async () => {
    await chat.ask(chat.question('a', { text: 'what is it?' }))
    chat.engine.knows(() => true)
    await chat.ask(chat.followUp('b', 'a', 'how many?'))
    expect(chat.texts()).toEqual([en.unsure, 'answer 1 to how many?'])
  })

  test('gets no automatic caption; of several pictures the known ones get theirs', async () => {
    await chat.preferences.setAutomatic('c', true)
    await chat.ask(chat.question('a', { trigger: 'automatic' }))
    expect(chat.posted).toEqual([])
    expect(await chat.keys('conversations/')).toEqual([])
    let seen = 0
    chat.engine.knows(() => ++seen === 2)
    const pictures = ['p', 'q', 'r'].map((id) => ({ id, url: `https://x/${id}` }))
    await chat.ask(chat.question('b', { trigger: 'automatic', pictures }))
    expect(chat.posted[0]!.reply.parts).toMatchObject([{ number: 2, text: ALT_TEXT, kind: 'alt' }])
  })
})

test('an automatic caption ignores the words beside the picture', async () => {
  await chat.preferences.setAutomatic('c', true)
  await chat.ask(chat.question('a', { trigger: 'automatic', text: 'Good morning everyone, is it Friday?' }))
  expect(chat.texts()).toEqual([ALT_TEXT])
})

describe('a bystander', () => {
  test('is not told about limits', async () => {
    await chat.ask(chat.question('a'))
    const asked = (id: string) => chat.followUp(id, 'a', 'how many?', { asker: { id: 'ben' } })
    await chat.ask(...['b', 'c', 'd', 'e', 'f', 'g'].map(asked))
    expect(chat.posted).toHaveLength(5)
    await chat.ask({ ...asked('h'), isToUs: true })
    expect(chat.texts().at(-1)).toContain('limit')
  })
})
