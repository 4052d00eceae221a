// The persistent connection to Slack (Socket Mode). An event is acknowledged after it was recorded; what is not
// acknowledged, Slack sends again.

import { type App, LogLevel, type Receiver, SocketModeReceiver } from '@slack/bolt'
import { SetupError } from '../errors.ts'
import { clientOptions } from './api.ts'
import type { SlackSettings } from './settings.ts'
import { GRACE_MS, runListeners, wait } from './webhook.ts'

export function socketReceiver({ appToken, apiUrl }: SlackSettings): Receiver {
  if (!appToken) {
    throw new SetupError(
      'no_slack_connection',
      'Expected SLACK_APP_TOKEN (a connection from here) or SLACK_SIGNING_SECRET (requests to here) beside SLACK_BOT_TOKEN but got neither. Take one from the app\'s page "Basic Information".',
    )
  }
  return new SocketModeReceiver({
    appToken,
    logLevel: LogLevel.ERROR,
    installerOptions: { clientOptions: clientOptions(apiUrl) },
  })
}

/** The same over a connection from here: what is not acknowledged Slack sends again. */
export function ackAfterRecording(socket: Receiver, report: (error: unknown) => void): Receiver {
  return {
    init(app) {
      const recording: Pick<App, 'processEvent'> = {
        async processEvent(event) {
          const outcome = await runListeners(app, event, GRACE_MS, report, wait)
          if (outcome.kind === 'acknowledged') await event.ack(outcome.answer)
        },
      }
      socket.init(Object.assign(Object.create(app), recording))
    },
    start: () => socket.start(),
    stop: () => socket.stop(),
  }
}
