// The persistent connection to Slack (Socket Mode) -> events for Bolt's App. An event is acknowledged when its listeners
// have recorded it, or 250 ms after Bolt's own acknowledgement (webhook.ts). Slack sends an event again that is not.

import { type App, LogLevel, type Receiver, SocketModeReceiver } from '@slack/bolt'
import { SetupError } from '../errors.ts'
import { clientOptions } from './api.ts'
import type { SlackSettings } from './settings.ts'
import { runListeners } from './webhook.ts'

/** @throws SetupError `no_slack_connection` without an app token */
export function socketReceiver(
  { appToken, apiUrl }: SlackSettings,
  report: (error: unknown) => void,
): Receiver {
  if (!appToken) {
    throw new SetupError(
      'no_slack_connection',
      'SLACK_BOT_TOKEN is set, but neither SLACK_APP_TOKEN (Socket Mode) nor SLACK_SIGNING_SECRET (HTTP events). ' +
        'Copy one from the app\'s page "Basic Information".',
    )
  }
  const socket = new SocketModeReceiver({
    appToken,
    logLevel: LogLevel.ERROR,
    installerOptions: { clientOptions: clientOptions(apiUrl) },
  })
  return {
    init(app) {
      const recording: Pick<App, 'processEvent'> = {
        async processEvent(event) {
          const { status, response } = await runListeners(app, event, { report })
          if (status === 200) await event.ack(response)
        },
      }
      socket.init(Object.assign(Object.create(app), recording))
    },
    start: () => socket.start(),
    stop: () => socket.stop(),
  }
}
