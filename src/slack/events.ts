// Slack's events -> the desk. Bolt hears them, over a connection from here (Socket Mode) or over HTTP; each listener
// records what came, which is quick, and nothing waits for the model.

import { App, LogLevel, type Receiver, SocketModeReceiver } from '@slack/bolt'
import { z } from 'zod'
import type { Question } from '../chat/question.ts'
import { SetupError } from '../errors.ts'
import { clientOptions, refusalOf, slackClient, translated } from './api.ts'
import { listenToWindows, type WindowsOptions } from './interactions.ts'
import { messageSchema, questionId, questionOfMessage, type Surroundings, teamOf } from './message.ts'
import type { SlackSettings } from './settings.ts'
import { recordingFirst } from './webhook.ts'

export interface SlackApp {
  /** Connects, where it is we who connect. @throws SetupError when Slack does not know the token. */
  start(): Promise<void>
  stop(): Promise<void>
}

export interface SlackAppOptions extends Omit<WindowsOptions, 'now'> {
  settings: SlackSettings
  /** How events come; without it over a connection from here. */
  receiver?: Receiver
  now?: () => number
}

/** An app_mention may come before the message with the files: so long it waits to be overtaken. */
export const HOLD_MS = 1_500

/** A message event: a message, or what became of one. */
const changeSchema = messageSchema.extend({
  channel: z.string(),
  channel_type: z.string().nullish(),
  deleted_ts: z.string().nullish(),
  message: messageSchema.nullish(),
  previous_message: messageSchema.nullish(),
})

export function slackApp(options: SlackAppOptions): SlackApp {
  const { settings, desk, report, now = Date.now } = options
  const client = slackClient(settings)
  let identity: Promise<{ botUserId: string; botId?: string }> | undefined
  /** Asked once; again only after it failed. */
  const whoWeAre = () => {
    identity ??= client.auth.test().then(
      ({ user_id, bot_id }) => ({ botUserId: user_id!, botId: bot_id }),
      (error: unknown) => {
        identity = undefined
        throw error
      },
    )
    return identity
  }
  const app = new App({
    authorize: async () => ({ botToken: settings.botToken, ...(await whoWeAre()) }),
    receiver: options.receiver ?? recordingFirst(socketReceiver(settings), report),
    clientOptions: clientOptions(settings.apiUrl),
    logLevel: LogLevel.ERROR,
  })
  // Thrown on, so that whoever brought the event hears that it is not recorded.
  app.error(async (error) => {
    throw error
  })

  const around = async (body: unknown, channel: string, isDirect: boolean): Promise<Surroundings> => ({
    team: teamOf(body),
    channel,
    isDirect,
    me: (await whoWeAre()).botUserId,
    now: now(),
  })

  app.event('app_mention', async ({ event, body }) => {
    const message = messageSchema.safeParse(event)
    if (!message.success) return
    const question = questionOfMessage(message.data, await around(body, event.channel, false))
    if (question) await desk.submit(question, question.pictures.length > 0 ? 0 : HOLD_MS)
  })

  app.event('message', async ({ event, body }) => {
    // Of some other shape, it is no message of a person.
    const parsed = changeSchema.safeParse(event)
    if (!parsed.success) return
    const change = parsed.data
    const isDirect = change.channel_type === 'im' || change.channel.startsWith('D')
    const here = await around(body, change.channel, isDirect)
    const gone = goneIn(change)
    if (gone !== undefined) {
      await desk.retract(questionId(here, gone))
      return await desk.retract(editedId(questionId(here, gone)))
    }
    const question =
      change.subtype === 'message_changed' ? questionOfEdit(change, here) : questionOfMessage(change, here)
    if (question) await desk.submit(question)
  })

  listenToWindows(app, client, { ...options, now })

  return {
    async start() {
      await whoWeAre().catch((cause: unknown) => {
        throw refusalOf(cause) === undefined
          ? translated(cause)
          : new SetupError(
              'bad_slack_token',
              `Expected Slack to know SLACK_BOT_TOKEN but it said ${refusalOf(cause)}. Copy the Bot User OAuth Token (xoxb-...) from the app's page "OAuth & Permissions".`,
              { cause },
            )
      })
      await app.start()
    },
    async stop() {
      await app.stop()
    },
  }
}

/** The time of a message that was deleted; with replies below it Slack leaves a tombstone in its place. */
function goneIn({ subtype, deleted_ts, message }: z.infer<typeof changeSchema>): string | undefined {
  if (subtype === 'message_deleted') return deleted_ts ?? undefined
  return subtype === 'message_changed' && message?.subtype === 'tombstone' ? message.ts : undefined
}

/** An edit asks nothing new, unless it brings a picture. */
function questionOfEdit(change: z.infer<typeof changeSchema>, here: Surroundings): Question | undefined {
  const { message, previous_message } = change
  // Without the message as it was nobody can tell whether the picture is new.
  if (
    !message ||
    !previous_message ||
    (previous_message.files ?? []).length > 0 ||
    (message.files ?? []).length === 0
  )
    return undefined
  const question = questionOfMessage(message, here)
  return question && { ...question, id: editedId(question.id) }
}

function editedId(id: string): string {
  return `${id}/edited`
}

function socketReceiver({ appToken, apiUrl }: SlackSettings): Receiver {
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
