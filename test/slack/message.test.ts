// Slack's message payloads -> questions, or none.

import { describe, expect, test } from 'vitest'
import { type MessageContext, plainText, questionOfMessage } from '../../src/slack/message.ts'
import { messageSchema } from '../../src/slack/payloads.ts'

const HERE: MessageContext = { team: 'T1', channel: 'C1', isDirect: false, me: 'UBOT', now: 1_000 }
const FILE = {
  id: 'F1',
  name: 'a.png',
  mimetype: 'image/png',
  filetype: 'png',
  size: 1_000,
  mode: 'hosted',
  file_access: 'visible',
  url_private: 'https://files.slack.com/files-pri/T1-F1/a.png',
  thumb_1024: 'https://files.slack.com/files-tmb/T1-F1/a_1024.png',
}
const message = (more: object = {}) =>
  messageSchema.parse({ type: 'message', user: 'U1', ts: '5.0', text: '', team: 'T1', ...more })
const ask = (more: object, here: Partial<MessageContext> = {}) =>
  questionOfMessage(message(more), { ...HERE, ...here })

describe('is a question', () => {
  test('with a mention and a picture', () => {
    expect(ask({ subtype: 'file_share', text: '<@UBOT> how many?', files: [FILE] })).toMatchObject({
      id: 'slack/T1/C1/5.0',
      trigger: 'mention',
      asker: { id: 'T1/U1' },
      owner: 'T1/U1',
      text: 'how many?',
      pictures: [{ id: 'F1', url: FILE.url_private, smallerUrl: FILE.thumb_1024, sizeBytes: 1_000 }],
      conversations: ['slack/T1/C1/5.0'],
      source: '5.0',
      route: { thread_ts: '5.0' },
    })
  })

  test('with a mention in a thread: about the thread', () => {
    const question = ask({ text: 'what is it <@UBOT|glimpse>', thread_ts: '1.0' })
    expect(question).toMatchObject({
      trigger: 'mention',
      text: 'what is it',
      conversations: ['slack/T1/C1/1.0'],
    })
    expect(question!.route).toMatchObject({ thread_ts: '1.0' })
  })

  test('about the pictures of a message it quotes, whose author they belong to', () => {
    const quoted = { is_msg_unfurl: true, author_id: 'U9', files: [FILE] }
    expect(ask({ text: '<@UBOT>', attachments: [quoted] })).toMatchObject({
      owner: 'T1/U9',
      pictures: [{ id: 'F1' }],
    })
  })

  test('about its own pictures rather than those it quotes', () => {
    const quoted = { author_id: 'U9', files: [{ ...FILE, id: 'F2' }] }
    expect(ask({ text: '<@UBOT>', files: [FILE], attachments: [quoted] })!.pictures).toMatchObject([
      { id: 'F1' },
    ])
  })

  test('about files that are only named in blocks', () => {
    const blocks = [{ type: 'rich_text' }, { type: 'file', file_id: 'F7', source: 'remote' }]
    expect(ask({ text: '<@UBOT>', blocks })!.pictures).toEqual([{ id: 'F7', postedIn: 'slack/T1/C1/5.0' }])
  })

  test('about a stub of another workspace, which only files.info describes', () => {
    const stub = { id: 'F3', mode: 'file_access', file_access: 'check_file_info', name: null, mimetype: null }
    expect(ask({ text: '<@UBOT>', files: [stub] })!.pictures).toEqual([
      { id: 'F3', postedIn: 'slack/T1/C1/5.0' },
    ])
  })

  test('about a file that is gone, for the answer that it is gone', () => {
    const file = { id: 'F3', mode: 'tombstone' }
    expect(ask({ text: '<@UBOT>', files: [file] })!.pictures).toMatchObject([{ id: 'F3', unavailable: true }])
  })

  test('in a direct message, with or without a picture', () => {
    const here = { isDirect: true, channel: 'D1' }
    expect(ask({ files: [FILE] }, here)).toMatchObject({
      trigger: 'direct',
      conversations: ['slack/T1/D1/5.0', 'slack/T1/D1'],
      route: { thread_ts: '5.0' },
    })
    const next = ask({ text: 'how many?' }, here)!
    expect(next.conversations).toEqual(['slack/T1/D1'])
    expect(next.route['thread_ts']).toBeUndefined()
  })

  test('in a thread without a mention, when it asks', () => {
    expect(ask({ text: 'and the color?', thread_ts: '1.0' })).toMatchObject({ trigger: 'follow_up' })
  })

  test('that was also sent to the channel, in its thread', () => {
    const shared = { subtype: 'thread_broadcast', text: '<@UBOT> what?', thread_ts: '1.0' }
    expect(ask(shared)).toMatchObject({ conversations: ['slack/T1/C1/1.0'] })
  })

  test('automatic, with a picture alone', () => {
    expect(ask({ files: [FILE] })).toMatchObject({ trigger: 'automatic', channel: 'slack/T1/C1' })
  })
})

describe('is none', () => {
  test.each<[string, object]>([
    ['words without a mention', { text: 'hello' }],
    ['talk in a thread', { text: 'nice', thread_ts: '1.0' }],
    ['a question in a thread to another person', { text: '<@U2> is that yours?', thread_ts: '1.0' }],
    ['a first message that asks the channel', { text: 'who is in today?' }],
    ['a message of the bot', { user: 'UBOT', files: [FILE] }],
    ["another bot's message", { bot_id: 'B2', user: 'U3', text: '<@UBOT>', files: [FILE] }],
    ['a bot message without a user', { user: null, subtype: 'bot_message', bot_id: 'B2', text: '<@UBOT>' }],
    ['a person joining', { subtype: 'channel_join', text: '<@UBOT> has joined' }],
    ['a document', { files: [{ ...FILE, mimetype: 'application/pdf' }] }],
    [
      'a drawing that the decoder refuses',
      { files: [{ ...FILE, mimetype: 'image/svg+xml', filetype: 'svg' }] },
    ],
  ])('%s', (_, more) => {
    expect(ask(more)).toBeUndefined()
  })
})

test.each([
  ['<@UBOT> what is &lt;this&gt; &amp; that?', 'what is <this> & that?'],
  ['<@UBOT>: <@U2|ben> and <#C2|art> <!here> <!subteam^S1|@team>', 'and'],
  ['see <https://x.example/a|the link> <https://y.example>', 'see the link https://y.example'],
  ['  <@UBOT>   two   words ', 'two words'],
  ['<@UBOTHER> hi', 'hi'],
])('%j reads %j', (text, plain) => {
  expect(plainText(text, 'UBOT')).toBe(plain)
})
