// The function `slack`: what Slack sends is checked, put into the queue and acknowledged, within 3 s.

import { Hono } from 'hono'
import { openPreferences } from '../chat/preferences.ts'
import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { openQueue } from '../queue/open.ts'
import { queueProducer } from '../queue/producer.ts'
import { SLACK_PATH } from '../serve/paths.ts'
import { slackApp } from '../slack/events.ts'
import { slackPlatform } from '../slack/platform.ts'
import { slackSettings } from '../slack/settings.ts'
import { requestReceiver } from '../slack/webhook.ts'
import { openStore } from '../store/open.ts'
import { HOUR_MS } from '../time.ts'
import { loadConfig, report } from './lifecycle.ts'

/** Lambda freezes after the answer: what is recorded by then is recorded. Slack waits 3 s. */
const GRACE_MS = 2_500
/** What the model can see is told where the model is; here its windows do without. */
const NO_ENGINE = new Promise<Engine>(() => {})

/** @throws SetupError */
export async function openSlack(): Promise<Hono> {
  const config = await loadConfig(['SLACK_BOT_TOKEN', 'SLACK_SIGNING_SECRET'])
  const settings = slackSettings(config)
  if (!settings?.signingSecret) {
    throw new SetupError(
      'no_slack_secret',
      'Expected SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET below GLIMPSE_SECRETS but one is missing.',
    )
  }
  const [store, queue] = await Promise.all([openStore(config.state), openQueue(config.queue)])
  const preferences = openPreferences(store)
  const receiver = requestReceiver({ signingSecret: settings.signingSecret, graceMs: GRACE_MS, report })
  slackApp({
    settings,
    platform: slackPlatform(settings),
    sink: queueProducer({ queue, store, preferences }),
    preferences,
    engine: NO_ENGINE,
    keepMs: config.keepHours * HOUR_MS,
    receiver,
    report,
  })
  return new Hono().post(SLACK_PATH, ({ req }) => receiver.handle(req.raw))
}
