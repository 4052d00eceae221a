// The persistent connection to Slack (Socket Mode) -> events for Bolt's App. An event is acknowledged when its listeners
// have recorded it (webhook.ts). Slack sends an event again that is not.
//
// Bolt's client parses and reconnects in handlers whose failures nobody catches, which would end the process. Here each
// failure is reported, and a connection that ends is opened again until Slack refuses the token.

import { setTimeout as wait } from 'node:timers/promises'
import { type App, LogLevel, type Receiver, SocketModeReceiver } from '@slack/bolt'
import { SetupError, UpstreamError } from '../errors.ts'
import { clientOptions, slackErrorCode } from './api.ts'
import type { SlackSettings } from './settings.ts'
import { runListeners } from './webhook.ts'

export interface SocketReceiver extends Receiver {
  /** Why Slack refuses every further connection; undefined until it does. */
  fault(): SetupError | undefined
}

interface SocketOptions {
  report: (error: unknown) => void
  /** Replaced in tests. */
  sleep?: (ms: number) => Promise<unknown>
}

/** Error codes of apps.connections.open that no later try changes (docs.slack.dev, "apps.connections.open"). */
const FATAL_CODES: readonly (string | undefined)[] = [
  'not_authed',
  'invalid_auth',
  'account_inactive',
  'token_revoked',
  'token_expired',
  'user_removed_from_team',
  'team_disabled',
]
/** Pauses of 1, 2, 4, ... 30, 30 s between tries to connect again. */
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000

/** @throws SetupError `no_slack_connection` without an app token */
export function socketReceiver(
  { appToken, apiUrl }: SlackSettings,
  { report, sleep = (ms) => wait(ms, undefined, { ref: false }) }: SocketOptions,
): SocketReceiver {
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
    autoReconnectEnabled: false,
    installerOptions: { clientOptions: clientOptions(apiUrl) },
    // The event is not acknowledged, so Slack sends it again.
    processEventErrorHandler: async ({ error }) => {
      report(error)
      return false
    },
  })
  const { client } = socket
  for (const read of client.listeners('ws_message')) {
    client.off('ws_message', read)
    client.on('ws_message', (...message: unknown[]) => {
      Promise.resolve(read(...message)).catch((error: unknown) => report(unreadable(error)))
    })
  }

  let fault: SetupError | undefined
  let isStopping = false
  const reconnect = async () => {
    for (let pauseMs = FIRST_PAUSE_MS; !isStopping; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        await client.start()
        return isStopping ? await client.disconnect() : undefined
      } catch (error) {
        if (isStopping) return
        const code = slackErrorCode(error)
        if (FATAL_CODES.includes(code)) {
          fault = refused(code)
          return report(fault)
        }
        report(disconnected(error))
        await sleep(pauseMs)
      }
    }
  }
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
    async start() {
      const connected = await socket.start()
      let isConnecting = false
      client.on('disconnected', () => {
        // A try of `reconnect` that fails ends with this event, too.
        if (isStopping || isConnecting) return
        isConnecting = true
        void reconnect().finally(() => (isConnecting = false))
      })
      return connected
    },
    async stop() {
      isStopping = true
      await socket.stop()
    },
    fault: () => fault,
  }
}

function refused(code: string | undefined): SetupError {
  return new SetupError(
    'bad_slack_token',
    `Slack refused SLACK_APP_TOKEN (${code}). Create one on the app's page "Basic Information", "App-Level Tokens".`,
  )
}

function disconnected(error: unknown): UpstreamError {
  const why = slackErrorCode(error) ?? (error instanceof Error ? error.message : 'the connection was closed')
  return new UpstreamError('slack_failed', `The connection to Slack failed (${why}). It is opened again.`)
}

/** Without the event's content. */
function unreadable(cause: unknown): UpstreamError {
  return new UpstreamError('slack_failed', 'Slack sent an event of an unknown shape.', { cause })
}
