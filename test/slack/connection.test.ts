// Socket Mode: the app opens a connection, receives an event over it, and acknowledges the event. A connection that ends is
// opened again, until Slack refuses the token.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor, type QuestionProcessor } from '../../src/chat/processor.ts'
import { isGlimpseError } from '../../src/errors.ts'
import { socketReceiver } from '../../src/slack/connection.ts'
import { type SlackApp, slackApp } from '../../src/slack/events.ts'
import { slackPlatform } from '../../src/slack/platform.ts'
import { inMemoryStore, testLimiter } from '../chat/in-memory-store.ts'
import { ALT_TEXT as CAPTION, doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'
import { mentionWith, type SocketDouble, startSocketDouble } from './socket-mode-double.ts'

const HOUR_MS = 3_600_000
let slack: SocketDouble
let app: SlackApp
let processor: QuestionProcessor
const reported: unknown[] = []

beforeAll(async () => {
  slack = await startSocketDouble(PNG)
  const settings = { botToken: 'xoxb-socket', appToken: 'xapp-socket', apiUrl: slack.apiUrl }
  const store = inMemoryStore()
  const platform = slackPlatform(settings)
  const common = {
    engine: Promise.resolve(doubleEngine()),
    preferences: openPreferences(store),
    keepMs: HOUR_MS,
    report: (error: unknown) => reported.push(isGlimpseError(error) ? error.code : error),
  }
  const rateLimiter = testLimiter({ perMinute: 4, perHour: 20 })
  processor = openProcessor({ ...common, store, platforms: [platform], rateLimiter, maxQueue: 8 })
  const receiver = socketReceiver(settings, { report: common.report, sleep: async () => {} })
  app = slackApp({ ...common, settings, platform, receiver, sink: processor })
  await app.start()
})
afterAll(async () => {
  await app.stop()
  slack.close()
})

test('an event delivered twice is acknowledged twice and answered once, in the language of its asker', async () => {
  for (const id of ['e1', 'e2']) slack.send(id, mentionWith(slack.pictureUrl))
  expect(await slack.replies(1)).toEqual([CAPTION])
  await until(() => slack.acknowledged.length >= 2)
  expect(slack.acknowledged.sort()).toEqual(['e1', 'e2'])
  await processor.drained()
  expect(slack.posted).toHaveLength(1)
  expect(slack.posted[0]).toMatchObject({ channel: 'C1', thread_ts: '1.0', text: CAPTION })
  expect(slack.posted[0]!.blocks).toContain('auf Englisch')
})

test.each([
  'null',
  '[]',
  'no JSON',
  '{"type":"events_api"}',
  '{"type":"events_api","envelope_id":"x","payload":null}',
  '{"type":"events_api","envelope_id":"x","payload":{"type":"app_rate_limited"}}',
  '{"type":"interactive","envelope_id":"x","payload":{"type":"block_actions"}}',
  '{"type":"slash_commands","envelope_id":"x"}',
])('a frame that Bolt cannot parse changes nothing: %s', async (frame) => {
  const before = slack.acknowledged.length
  slack.sendText(frame)
  slack.send('after', mentionWith(slack.pictureUrl))
  await until(() => slack.acknowledged.slice(before).includes('after'))
  expect(slack.posted).toHaveLength(1)
})

test('a connection that ends is opened again, until Slack refuses the token for good', async () => {
  reported.length = 0
  slack.drop('internal_error')
  await until(() => reported.filter((code) => code === 'slack_failed').length > 3)
  expect(app.fault()).toBeUndefined()
  slack.drop()
  await until(() => slack.connections() === 2)
  reported.length = 0
  slack.drop('invalid_auth')
  await until(() => app.fault() !== undefined)
  expect(app.fault()).toMatchObject({
    code: 'bad_slack_token',
    message: expect.stringContaining('invalid_auth'),
  })
  expect(reported).toEqual(['bad_slack_token'])
})
