// Interaction payloads -> questions and settings.

import { describe, expect, test } from 'vitest'
import { readInteraction } from '../../src/discord/interactions.ts'
import {
  ANN,
  attachment,
  BEN,
  CHANNEL,
  interaction,
  ME,
  message,
  person,
  questionOfInteraction,
} from './payloads.ts'

const FILE = '900000000000000400'
const caption = interaction({
  name: 'caption',
  options: [
    { name: 'image', type: 11, value: FILE },
    { name: 'question', type: 3, value: ' how many? ' },
  ],
  resolved: { attachments: { [FILE]: attachment(FILE, { ephemeral: true }) } },
})
const describeMessage = (target: Record<string, unknown>) =>
  interaction({
    name: 'Describe this image',
    type: 3,
    target_id: target['id'],
    resolved: { messages: { [String(target['id'])]: target } },
  })

describe('commands', () => {
  test('/caption asks about the picture that came with it', () => {
    expect(questionOfInteraction(caption, 1_000)).toEqual({
      id: 'discord/interaction/900000000000000200',
      platform: 'discord',
      trigger: 'command',
      asker: { id: ANN, locale: 'de' },
      text: 'how many?',
      pictures: [
        expect.objectContaining({
          id: FILE,
          url: expect.stringContaining('cdn.discordapp.com'),
          message: undefined,
        }),
      ],
      owner: ANN,
      conversations: [`discord/asker/${CHANNEL}/${ANN}`],
      lastAsked: `discord/asker/${CHANNEL}/${ANN}`,
      channel: `discord/${CHANNEL}`,
      askedAt: 1_000,
      route: {
        kind: 'interaction',
        application: ME,
        token: 'aW50ZXJhY3Rpb246bm90LWEtcmVhbC10b2tlbg',
        isEphemeral: false,
      },
    })
  })
  test('/ask without a picture is about its asker’s last picture in the channel, in a thread about the thread’s', () => {
    const ask = { name: 'ask', options: [{ name: 'question', type: 3, value: 'why?' }] }
    expect(questionOfInteraction(interaction(ask), 0)).toMatchObject({
      pictures: [],
      owner: undefined,
      conversations: [`discord/asker/${CHANNEL}/${ANN}`],
    })
    const inThread = interaction(ask, { channel: { id: CHANNEL, type: 11 } })
    expect(questionOfInteraction(inThread, 0)?.conversations[0]).toBe(`discord/message/${CHANNEL}`)
    const direct = interaction(ask, {
      channel: { type: 1 },
      member: undefined,
      user: person(ANN),
      guild_id: undefined,
    })
    expect(questionOfInteraction(direct, 0)).toMatchObject({
      asker: { id: ANN },
      conversations: [`discord/channel/${CHANNEL}`, `discord/asker/${CHANNEL}/${ANN}`],
    })
  })
  test('“Describe this image” is about the message it was used on, and for its user alone', () => {
    const target = message({ id: '77', author: person(BEN), attachments: [attachment('1'), attachment('2')] })
    const incoming = readInteraction(describeMessage(target), 0)
    expect(incoming).toMatchObject({ kind: 'question', isEphemeral: true })
    expect(questionOfInteraction(describeMessage(target), 0)).toMatchObject({
      trigger: 'shortcut',
      pictures: [{ id: '1', message: { channel: CHANNEL, id: '77' } }, { id: '2' }],
      owner: BEN,
      conversations: ['discord/message/77', `discord/asker/${CHANNEL}/${ANN}`],
      route: { isEphemeral: true },
    })
  })
  test('used on a message without a picture it is about no other', () => {
    const target = message({ id: '77', content: 'just words' })
    expect(questionOfInteraction(describeMessage(target), 0)).toMatchObject({
      pictures: [],
      conversations: ['discord/message/77'],
    })
  })
  test('it finds the picture in what the message forwards', () => {
    const forwarded = [{ message: { content: '', attachments: [attachment('1')] } }]
    const target = message({ id: '77', message_snapshots: forwarded })
    expect(questionOfInteraction(describeMessage(target), 0)).toMatchObject({
      pictures: [{ id: '1' }],
      owner: undefined,
    })
  })
})

describe('settings', () => {
  const set = (name: string, option: string, value: boolean) =>
    readInteraction(
      interaction({ name, options: [{ name: option, type: 5, value }] }, { guild_locale: 'fr' }),
      0,
    )
  test('automatic captions are switched for the channel, and confirmed in the server’s language', () => {
    expect(set('caption-settings', 'automatic', true)).toMatchObject({
      kind: 'automatic',
      channel: `discord/${CHANNEL}`,
      on: true,
      messages: { locale: 'fr' },
    })
  })
  test('opting out is for the person, and confirmed in their language', () => {
    expect(set('caption-privacy', 'opt-out', false)).toMatchObject({
      kind: 'opt_out',
      person: `discord/${ANN}`,
      out: false,
      messages: { locale: 'de' },
    })
  })
})

test('a ping is a ping, and an unknown command is unknown', () => {
  const ping = {
    id: '1',
    application_id: ME,
    type: 1,
    token: 't',
    version: 1,
    user: person(ANN),
    entitlements: [],
  }
  expect(readInteraction(ping, 0)).toEqual({ kind: 'ping' })
  expect(readInteraction(interaction({ name: 'of-another-time' }), 0).kind).toBe('unknown')
  expect(readInteraction(interaction({ custom_id: 'x', component_type: 2 }, { type: 3 }), 0).kind).toBe(
    'unknown',
  )
})

test('an invalid interaction is refused without its contents in the error', () => {
  expect(() => readInteraction({ type: 2, token: 'a secret' }, 0)).toThrow(
    /^Expected an interaction from Discord/,
  )
  expect(() => readInteraction({ type: 2, token: 'a secret' }, 0)).not.toThrow(/secret/)
})
