// Two installations with tokens of their own in one channel, as with Slack Connect: each message is answered by one.

import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor } from '../../src/chat/processor.ts'
import { slackApp } from '../../src/slack/events.ts'
import { slackPlatform } from '../../src/slack/platform.ts'
import { requestReceiver } from '../../src/slack/webhook.ts'
import type { Store } from '../../src/store/store.ts'
import { inMemoryStore, testLimiter } from '../chat/in-memory-store.ts'
import { doubleEngine } from '../serve/double.ts'
import { until } from '../until.ts'
import { type SlackWebDouble, startSlackWeb } from './web-double.ts'

const SECRET = 'signing-secret-of-both'
const NEVER = new Promise<never>(() => {})
let web: SlackWebDouble
beforeAll(async () => {
  web = await startSlackWeb()
})
afterAll(() => web.close())
beforeEach(() => {
  Object.assign(web, { visible: [], seen: [], calls: [], answers: {} })
})

interface Installation {
  team: string
  engine: ReturnType<typeof doubleEngine>
  /** Delivers an event as Slack does, signed. */
  send(event: object): Promise<void>
  drained(): Promise<void>
}

async function install(team: string, store: Store): Promise<Installation> {
  const settings = { botToken: `xoxb-${team}`, signingSecret: SECRET, apiUrl: `${web.origin}/api/` }
  const preferences = openPreferences(store)
  await preferences.setAutomatic(`slack/${team}/C0ART`, true)
  const engine = doubleEngine()
  const platform = slackPlatform(settings, async () => {})
  const common = { engine: Promise.resolve(engine), preferences, keepMs: 3_600_000, report: () => {} }
  const rateLimiter = testLimiter({ perMinute: 100, perHour: 100 })
  const processor = openProcessor({
    ...common,
    store,
    platforms: [platform],
    rateLimiter,
    maxQueue: 8,
    sleep: async () => {},
  })
  const receiver = requestReceiver({ signingSecret: SECRET, report: () => {}, sleep: () => NEVER })
  slackApp({ ...common, settings, platform, sink: processor, receiver })
  return {
    team,
    engine,
    async send(event) {
      const authorizations = [{ team_id: team, user_id: `${team}BOT`, is_bot: true }]
      const envelope = { type: 'event_callback', team_id: team, event_id: `Ev${team}`, authorizations, event }
      const body = JSON.stringify({ ...envelope, is_ext_shared_channel: true })
      const timestamp = String(Math.floor(Date.now() / 1000))
      const signature = `v0=${createHmac('sha256', SECRET).update(`v0:${timestamp}:${body}`).digest('hex')}`
      const headers = {
        'content-type': 'application/json',
        'x-slack-request-timestamp': timestamp,
        'x-slack-signature': signature,
      }
      const request = new Request('http://glimpse.test/slack/events', { method: 'POST', body, headers })
      expect((await receiver.handle(request)).status).toBe(200)
    },
    drained: () => processor.drained(),
  }
}

const ROOT = '1790000100.000100'
const message = (text: string, more: object = {}) => ({
  type: 'message',
  channel: 'C0ART',
  channel_type: 'channel',
  user: 'U0ANN',
  text,
  ts: ROOT,
  team: 'TONE',
  files: [
    { id: 'F0CAT', name: 'cat.png', mimetype: 'image/png', url_private: `${web.origin}/files/F0CAT.png` },
  ],
  subtype: 'file_share',
  ...more,
})
const visible = () => web.visible.map(({ user, text }) => `${user}: ${text}`)

const STORES: [string, number, () => [Store, Store]][] = [
  [
    'a store that they share',
    1,
    () => {
      const store = inMemoryStore()
      return [store, store]
    },
  ],
  ['stores of their own', 2, () => [inMemoryStore(), inMemoryStore()]],
]

/** `working`: how many work at a message that both get at once. */
for (const [name, working, open] of STORES) {
  const both = async () => {
    const [first, second] = open()
    return [await install('TONE', first), await install('TTWO', second)] as const
  }

  test(`with ${name}: one gives the automatic caption`, async () => {
    for (const each of await both()) {
      await each.send(message('our lunch'))
      await each.drained()
    }
    expect(visible()).toEqual([expect.stringMatching(/^TONEBOT: /)])
  })

  test(`with ${name}: of two that post at the same time one reply stays`, async () => {
    const installations = await both()
    for (const { engine } of installations) engine.hold()
    for (const each of installations) await each.send(message('our lunch'))
    await until(() => web.calls.filter((call) => call === 'files/F0CAT.png').length === working)
    for (const { engine } of installations) engine.release()
    for (const each of installations) await each.drained()
    expect(visible()).toHaveLength(1)
  })

  test.each([
    [0, 1],
    [1, 0],
  ])(`with ${name}: the one that is named answers, whichever hears it first (%i, %i)`, async (...order) => {
    const installations = await both()
    for (const index of order) {
      await installations[index]!.send(message('<@TTWOBOT> how many?'))
      await installations[index]!.drained()
    }
    expect(visible()).toEqual(['TTWOBOT: answer 1 to how many?'])
  })

  test(`with ${name}: in a thread where both were asked, one answers what is said to neither`, async () => {
    const installations = await both()
    for (const each of installations) {
      await each.send(message(`<@${each.team}BOT> what is it?`))
      await each.drained()
    }
    const asked = visible().length
    const next = { ts: '1790000200.000100', thread_ts: ROOT, files: [], subtype: undefined }
    for (const each of installations) {
      await each.send(message('What colour is it?', next))
      await each.drained()
    }
    expect(visible().slice(asked)).toEqual([expect.stringMatching(/^T...BOT: .*What colour is it\?$/)])
  })
}
