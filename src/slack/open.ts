// Slack's settings -> the platform that replies, and the source of its events: Socket Mode, or a webhook.

import type { EventDeps, OpenAdapter, WebhookHandler } from '../chat/adapter.ts'
import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { slackApp } from './events.ts'
import { slackPlatform } from './platform.ts'
import { type SlackSettings, type SlackValues, slackSettings } from './settings.ts'
import { requestReceiver } from './webhook.ts'

/** Lambda stops when the response is out, so it waits for what listeners record. Slack sends an event again after 3 s. */
const WEBHOOK_GRACE_MS = 2_500
/** The app's home shows the model's name once there is one. */
const NO_ENGINE = new Promise<Engine>(() => {})

export function openSlack(settings: SlackSettings): OpenAdapter {
  const platform = slackPlatform(settings)
  return {
    platform,
    receive({ engine = NO_ENGINE, ...deps }) {
      const { signingSecret, appToken } = settings
      const receiver =
        signingSecret && !appToken ? requestReceiver({ signingSecret, report: deps.report }) : undefined
      return {
        webhook: receiver?.handle,
        ...slackApp({ ...deps, engine, settings, platform, receiver }),
      }
    },
  }
}

/** @throws SetupError `no_slack_secret` */
export function openSlackWebhook(
  values: SlackValues,
  { engine = NO_ENGINE, ...deps }: EventDeps,
): WebhookHandler {
  const settings = slackSettings(values)
  if (!settings?.signingSecret) {
    throw new SetupError(
      'no_slack_secret',
      'SLACK_BOT_TOKEN or SLACK_SIGNING_SECRET is missing below GLIMPSE_SECRETS. Store both.',
    )
  }
  const { signingSecret } = settings
  const receiver = requestReceiver({ signingSecret, graceMs: WEBHOOK_GRACE_MS, report: deps.report })
  slackApp({ ...deps, engine, settings, platform: slackPlatform(settings), receiver })
  return receiver.handle
}
