// Slack's payloads with what people see of the answer: each file of replay/ is a test. They are written after the platform's
// documentation, with values of their own. A new one is a new file:
//
//   about        the name of the test
//   deliveries   bodies as Slack posts them, one after another; `form` for those that are a form
//   answers      what Web API methods answer: an object, or a list that is used up in order
//   files        contents of files that are no PNG, by path: `/files/a.heic`
//   automatic    channels with automatic captions
//   seen         calls that people see, in order. `/words/` is a regular expression; null: absent
//   asked        questions that reach the model; '' is a caption
//   calls        calls that must have been made, in order, among others
//
// `$SLACK` is the origin of the double.

import { createHmac } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lastQuestion } from '../../src/chat/conversation.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor } from '../../src/chat/processor.ts'
import { slackApp } from '../../src/slack/events.ts'
import { slackPlatform } from '../../src/slack/platform.ts'
import { requestReceiver } from '../../src/slack/webhook.ts'
import { inMemoryStore, testLimiter } from '../chat/in-memory-store.ts'
import { matching } from '../matching.ts'
import { doubleEngine } from '../serve/double.ts'
import { type SlackWebDouble, startSlackWeb } from './web-double.ts'

interface Replay {
  about: string
  deliveries: (Record<string, unknown> & { form?: Record<string, string> })[]
  answers?: SlackWebDouble['answers']
  files?: Record<string, string>
  automatic?: string[]
  seen: { method: string; body: Record<string, unknown> }[]
  asked?: string[]
  calls?: string[]
}

const FOLDER = join(import.meta.dirname, 'replay')
const SECRET = 'signing-secret-of-the-replays'
const NEVER = new Promise<never>(() => {})

let web: SlackWebDouble
beforeAll(async () => {
  web = await startSlackWeb()
})
afterAll(() => web.close())

test.each(readdirSync(FOLDER))('%s', async (name) => {
  const text = readFileSync(join(FOLDER, name), 'utf8').replaceAll('$SLACK', web.origin)
  const replay = JSON.parse(text) as Replay
  Object.assign(web, { seen: [], calls: [], answers: replay.answers ?? {}, files: replay.files ?? {} })
  const engine = doubleEngine()
  const { handle, processor } = await startApp(replay.automatic ?? [], engine)
  for (const { form, ...body } of replay.deliveries) {
    const response = await handle(signed(form ? new URLSearchParams(form) : body))
    expect(response.status).toBe(200)
    await processor.drained()
  }
  expect(web.seen).toEqual(matching(replay.seen))
  if (replay.asked) expect(engine.asks.map(({ question = '' }) => question)).toEqual(replay.asked)
  const wanted = replay.calls ?? []
  expect(web.calls.filter((call) => wanted.includes(call))).toEqual(wanted)
})

async function startApp(automatic: readonly string[], engine: ReturnType<typeof doubleEngine>) {
  const settings = { botToken: 'xoxb-replay', signingSecret: SECRET, apiUrl: `${web.origin}/api/` }
  const store = inMemoryStore()
  const preferences = openPreferences(store)
  for (const channel of automatic) await preferences.setAutomatic(`slack/T0HOME/${channel}`, true)
  const platform = slackPlatform(settings, async () => {})
  const common = {
    engine: Promise.resolve(engine),
    preferences,
    lastQuestion: (name: string) => lastQuestion(store, name),
    keepMs: 3_600_000,
    report: () => {},
  }
  const rateLimiter = testLimiter({ perMinute: 100, perHour: 100 })
  // Pauses end at once.
  const sleep = async () => {}
  const processor = openProcessor({
    ...common,
    store,
    platforms: [platform],
    rateLimiter,
    maxQueue: 8,
    sleep,
  })
  const receiver = requestReceiver({ signingSecret: SECRET, report: () => {}, sleep: () => NEVER })
  slackApp({ ...common, settings, platform, sink: processor, receiver })
  return { handle: receiver.handle, processor }
}

function signed(body: URLSearchParams | object): Request {
  const isForm = body instanceof URLSearchParams
  const raw = isForm ? body.toString() : JSON.stringify(body)
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signature = `v0=${createHmac('sha256', SECRET).update(`v0:${timestamp}:${raw}`).digest('hex')}`
  return new Request('http://glimpse.test/slack/events', {
    method: 'POST',
    body: raw,
    headers: {
      'content-type': isForm ? 'application/x-www-form-urlencoded' : 'application/json',
      'x-slack-request-timestamp': timestamp,
      'x-slack-signature': signature,
    },
  })
}
