// Slack as a team uses it: a third-party Slack server, unmodified Bolt and signed events -> what a person reads.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ALT_TEXT as CAPTION, type Double, doubleEngine, PNG } from '../serve/double.ts'
import { envelope, type SlackHarness, startSlackHarness } from './harness.ts'

let engine: Double
let slack: SlackHarness
const mention = (text: string) => `<@${slack.botId}> ${text}`

beforeAll(async () => {
  engine = doubleEngine()
  slack = await startSlackHarness({ engine })
})
afterAll(() => slack.close())
beforeEach(() => {
  slack.fault(undefined)
  engine.fail(undefined)
  engine.asks.length = 0
})

const post = async (who: SlackHarness['ann'], text: string, thread_ts?: string, channel = slack.channel) => {
  const { ts } = await who.chat.postMessage({ channel, text, thread_ts })
  await slack.processor.drained()
  return ts!
}
const uploaded = async (text: string | undefined, pictures = [PNG], who = slack.ann) => {
  const ts = await slack.upload(who, pictures, text)
  await slack.processor.drained()
  return ts
}
const textsOf = async (ts: string, channel?: string) =>
  (await slack.thread(ts, channel)).filter(({ user }) => user === slack.botId).map(({ text }) => text)

describe('in a channel', () => {
  test('a mention with a picture is answered with a caption in its thread', async () => {
    const ts = await uploaded(mention(''))
    expect(await textsOf(ts)).toEqual([CAPTION])
  })

  test('the caption is in a box that can be copied, with a note that a machine wrote it', async () => {
    const ts = await uploaded(mention('describe this'))
    const [reply] = (await slack.thread(ts)).filter(({ user }) => user === slack.botId)
    const blocks = JSON.stringify(reply!.blocks)
    expect(blocks).toContain('rich_text_preformatted')
    expect(blocks).toContain('Described by a machine')
  })

  test('a sign shows progress, and the reply removes it', async () => {
    slack.calls.length = 0
    const ts = await uploaded(mention(''))
    expect(slack.calls.map(({ method }) => method)).toEqual(
      expect.arrayContaining(['reactions.add', 'reactions.remove']),
    )
    const { message } = await slack.ann.reactions.get({ channel: slack.channel, timestamp: ts })
    expect(message?.reactions ?? []).toEqual([])
  })

  test('a sign that Slack does not remove at once is removed later, and one that it may have set is, too', async () => {
    const left: string[] = []
    for (const failing of ['reactions.remove', 'reactions.add']) {
      let failures = 2
      slack.fault(({ method }) =>
        method === failing && failures-- > 0 ? { status: 503, body: '' } : undefined,
      )
      const ts = await uploaded(mention(''))
      const { message } = await slack.ann.reactions.get({ channel: slack.channel, timestamp: ts })
      left.push(...(message?.reactions ?? []).map(({ name }) => name!))
      expect(slack.calls.map(({ method }) => method)).toContain('reactions.remove')
    }
    expect(left).toEqual([])
  })

  test('an app that may not set a status is refused once; a fault is no refusal', async () => {
    await slack.restart()
    const statuses = () => slack.calls.filter(({ method }) => method === 'assistant.threads.setStatus').length
    const answered = async (body: string, status: number) => {
      slack.calls.length = 0
      slack.fault(({ method }) => (method === 'assistant.threads.setStatus' ? { status, body } : undefined))
      await uploaded(mention(''))
      expect(slack.calls.map(({ method }) => method)).toContain('reactions.remove')
      return statuses()
    }
    expect(await answered('', 503)).toBe(2)
    expect(await answered('{"ok":false,"error":"missing_scope"}', 200)).toBe(1)
    expect(await answered('{"ok":true}', 200)).toBe(0)
  })

  test('a mention with a picture and a question is answered', async () => {
    const ts = await uploaded(mention('how many?'))
    expect(await textsOf(ts)).toEqual(['answer 1 to how many?'])
  })

  test('follow-ups in the thread need no picture and no mention, and know the turns before', async () => {
    const ts = await uploaded(mention('what is it?'))
    await post(slack.ben, 'and what color is it?', ts)
    await post(slack.ann, mention('tell me more'), ts)
    expect(await textsOf(ts)).toEqual([
      'answer 1 to what is it?',
      'answer 2 to and what color is it?',
      'answer 3 to tell me more',
    ])
    // The picture is named by its sha256: the vision tower runs once.
    expect(engine.asks.map(({ image }) => image !== undefined)).toEqual([true, false, false])
  })

  test('people who talk to each other in the thread get no reply', async () => {
    const ts = await uploaded(mention(''))
    await post(slack.ben, 'nice one!', ts)
    await post(slack.ben, `<@${slack.annId}> did you take this?`, ts)
    expect(await textsOf(ts)).toEqual([CAPTION])
  })

  test('a mention in the thread of a picture without an answer finds the picture', async () => {
    const ts = await uploaded('look at that')
    expect(await textsOf(ts)).toEqual([])
    await post(slack.ben, mention('how many?'), ts)
    expect(await textsOf(ts)).toEqual(['answer 1 to how many?'])
  })

  test('several pictures are answered in one numbered reply', async () => {
    const ts = await uploaded(mention(''), [PNG, PNG, PNG])
    expect(await textsOf(ts)).toEqual([`1. ${CAPTION}\n2. ${CAPTION}\n3. ${CAPTION}`])
  })

  test('a mention without any picture is answered to the asker alone', async () => {
    slack.calls.length = 0
    const ts = await post(slack.ann, mention('what is this?'))
    expect(await textsOf(ts)).toEqual([])
    const answer = slack.calls.find(({ method }) => method === 'chat.postEphemeral')
    expect(answer?.body).toMatchObject({ user: slack.annId, text: expect.stringContaining('no picture') })
  })

  test('a file that is no picture is named as such', async () => {
    slack.calls.length = 0
    const ts = await uploaded(mention(''), [new TextEncoder().encode('just words')])
    expect(await textsOf(ts)).toEqual([])
    expect(slack.calls.find(({ method }) => method === 'chat.postEphemeral')?.body.text).toContain(
      'cannot read that file as a picture',
    )
  })

  test('the words of a reply cannot notify the channel', async () => {
    const ts = await uploaded(mention('<!channel> is it <https://example.org|big>?'))
    const [text] = await textsOf(ts)
    expect(text).toBe('answer 1 to is it big?')
  })

  test('pictures get automatic captions only where these are switched on', async () => {
    expect(await textsOf(await uploaded(undefined))).toEqual([])
    await slack.preferences.setAutomatic(`slack/${slack.team}/${slack.channel}`, true)
    try {
      expect(await textsOf(await uploaded(undefined))).toEqual([CAPTION])
    } finally {
      await slack.preferences.setAutomatic(`slack/${slack.team}/${slack.channel}`, false)
    }
  })

  test('the pictures of a person who opted out are not described to others', async () => {
    const person = `slack/${slack.team}/${slack.annId}`
    await slack.preferences.setOptedOut(person, true)
    try {
      const ts = await uploaded('mine')
      slack.calls.length = 0
      await post(slack.ben, mention('what is it?'), ts)
      expect(await textsOf(ts)).toEqual([])
      expect(slack.calls.find(({ method }) => method === 'chat.postEphemeral')?.body.text).toContain(
        'asked me not to',
      )
      await post(slack.ann, mention('what is it?'), ts)
      expect(await textsOf(ts)).toEqual(['answer 1 to what is it?'])
    } finally {
      await slack.preferences.setOptedOut(person, false)
    }
  })

  test('the reply is deleted with the picture', async () => {
    const ts = await uploaded(mention('what is it?'))
    expect(await textsOf(ts)).toHaveLength(1)
    slack.calls.length = 0
    await slack.ann.chat.delete({ channel: slack.channel, ts })
    await slack.processor.drained()
    expect(slack.calls.map(({ method }) => method)).toContain('chat.delete')
  })

  test('a restart forgets neither the picture nor the turns before', async () => {
    const ts = await uploaded(mention('what is it?'))
    await slack.restart()
    await post(slack.ann, 'what color is it?', ts)
    expect(await textsOf(ts)).toEqual(['answer 1 to what is it?', 'answer 2 to what color is it?'])
  })
})

describe('in a direct message', () => {
  test('a picture is captioned in its thread, and the next question is about it', async () => {
    const opened = await slack.ann.conversations.open({ users: slack.botId })
    const channel = opened.channel!.id!
    await slack.ann.filesUploadV2({ channel_id: channel, file: Buffer.from(PNG), filename: 'a.png' })
    await slack.processor.drained()
    const { messages } = await slack.ann.conversations.history({ channel })
    const picture = messages!.find(({ files }) => files)!
    expect(await textsOf(picture.ts!, channel)).toEqual([CAPTION])
    await post(slack.ann, 'how many apples', undefined, channel)
    const { messages: after } = await slack.ann.conversations.history({ channel })
    expect(after!.map(({ text }) => text)).toContain('answer 1 to how many apples')
  })
})

describe('by command, shortcut and home', () => {
  const form = (fields: Record<string, string>) => new URLSearchParams(fields)
  const payload = (value: object) => form({ payload: JSON.stringify(value) })

  test('/caption opens a modal for a picture, and its submission is answered to the asker', async () => {
    const bot = slack.calls
    bot.length = 0
    const answer = await slack.send(
      form({
        command: '/caption',
        text: '',
        team_id: slack.team,
        user_id: slack.annId,
        channel_id: slack.channel,
        trigger_id: await slack.trigger(slack.annId),
        response_url: slack.responseUrl,
      }),
    )
    expect(answer.status).toBe(200)
    const opened = bot.find(({ method }) => method === 'views.open')!
    const view = JSON.parse(opened.body.view!)
    expect(JSON.stringify(view)).toContain('file_input')

    const { files } = (await slack.ann.files.list({})) as { files: { id: string }[] }
    const { file } = await slack.ann.files.info({ file: files[0]!.id })
    slack.responses.length = 0
    const submitted = await slack.send(
      payload({
        type: 'view_submission',
        team: { id: slack.team },
        user: { id: slack.annId },
        view: {
          id: 'V1',
          callback_id: view.callback_id,
          private_metadata: view.private_metadata,
          state: {
            values: {
              picture: { picture: { files: [file] } },
              question: { question: { value: 'how many?' } },
            },
          },
        },
      }),
    )
    expect(submitted).toMatchObject({ status: 200, text: '' })
    await slack.processor.drained()
    expect(slack.responses).toMatchObject([{ response_type: 'ephemeral', text: 'answer 1 to how many?' }])
  })

  test('"Describe this image" answers the asker alone', async () => {
    const ts = await uploaded('a picture')
    const { messages } = await slack.ann.conversations.history({
      channel: slack.channel,
      latest: ts,
      inclusive: true,
      limit: 1,
    })
    slack.responses.length = 0
    const answer = await slack.send(
      payload({
        type: 'message_action',
        callback_id: 'describe_image',
        trigger_id: '1.2.3',
        action_ts: '17.1',
        message_ts: ts,
        team: { id: slack.team, domain: 'x' },
        user: { id: slack.benId, name: 'ben' },
        channel: { id: slack.channel, name: 'pictures' },
        response_url: slack.responseUrl,
        message: messages![0]!,
      }),
    )
    expect(answer.status).toBe(200)
    await slack.processor.drained()
    expect(slack.responses).toMatchObject([{ response_type: 'ephemeral', text: CAPTION }])
    expect(await textsOf(ts)).toEqual([])
  })

  test('/caption-settings switches automatic captions on, and the channel is informed', async () => {
    slack.calls.length = 0
    await slack.send(
      form({
        command: '/caption-settings',
        team_id: slack.team,
        user_id: slack.annId,
        channel_id: slack.channel,
        trigger_id: await slack.trigger(slack.annId),
        response_url: slack.responseUrl,
      }),
    )
    const view = JSON.parse(slack.calls.find(({ method }) => method === 'views.open')!.body.view!)
    const submit = (selected_options: object[]) =>
      slack.send(
        payload({
          type: 'view_submission',
          team: { id: slack.team },
          user: { id: slack.annId },
          view: { ...view, id: 'V2', state: { values: { automatic: { automatic: { selected_options } } } } },
        }),
      )
    await submit([{ value: 'automatic' }])
    expect(await slack.preferences.isAutomatic(`slack/${slack.team}/${slack.channel}`)).toBe(true)
    const answer = slack.calls.find(({ method }) => method === 'chat.postMessage')
    expect(answer?.body.text).toContain('every picture')
    await submit([])
    expect(await slack.preferences.isAutomatic(`slack/${slack.team}/${slack.channel}`)).toBe(false)
  })

  test('the home says what the model recognizes and lets people opt out and in', async () => {
    slack.calls.length = 0
    const opened = { type: 'app_home_opened', user: slack.benId, channel: 'D1', tab: 'home', event_ts: '1.1' }
    await slack.send(envelope(slack.team, opened))
    const home = slack.calls.find(({ method }) => method === 'views.publish')!.body.view!
    expect(home).toContain('Emoji and clip art')
    const press = (action_id: string) =>
      slack.send(
        payload({
          type: 'block_actions',
          team: { id: slack.team },
          user: { id: slack.benId },
          actions: [{ type: 'button', action_id, block_id: 'b' }],
        }),
      )
    await press('opt_out')
    expect(await slack.preferences.hasOptedOut(`slack/${slack.team}/${slack.benId}`)).toBe(true)
    await press('opt_in')
    expect(await slack.preferences.hasOptedOut(`slack/${slack.team}/${slack.benId}`)).toBe(false)
  })
})
