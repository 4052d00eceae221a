// Socket Mode: the app opens a connection, receives an event over it, and acknowledges the event.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor, type QuestionProcessor } from '../../src/chat/processor.ts'
import { createRateLimiter } from '../../src/chat/rate-limit.ts'
import { type SlackApp, slackApp } from '../../src/slack/events.ts'
import { slackPlatform } from '../../src/slack/platform.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { CAPTION, doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'
import { mentionWith, type SocketDouble, startSocketDouble } from './socket-mode-double.ts'

const HOUR_MS = 3_600_000
let slack: SocketDouble
let app: SlackApp
let processor: QuestionProcessor

beforeAll(async () => {
  slack = await startSocketDouble(PNG)
  const settings = { botToken: 'xoxb-socket', appToken: 'xapp-socket', apiUrl: slack.apiUrl }
  const store = inMemoryStore()
  const platform = slackPlatform(settings)
  const common = {
    engine: Promise.resolve(doubleEngine()),
    preferences: openPreferences(store),
    keepMs: HOUR_MS,
    report: () => {},
  }
  const rateLimiter = createRateLimiter({ perMinute: 4, perHour: 20 })
  processor = openProcessor({ ...common, store, platforms: [platform], rateLimiter, maxQueue: 8 })
  app = slackApp({ ...common, settings, platform, sink: processor })
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
