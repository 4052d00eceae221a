// Slack's events -> the desk. Bolt hears them, over a connection from here (Socket Mode) or over HTTP; each listener
// records what came, which is quick, and nothing waits for the model.

import { App, LogLevel, type Receiver } from '@slack/bolt'
import { z } from 'zod'
import type { Question } from '../chat/question.ts'
import { SetupError } from '../errors.ts'
import { clientOptions, slackClient, slackErrorCode, toGlimpseError } from './api.ts'
import { ackAfterRecording, socketReceiver } from './connection.ts'
import { type InteractionOptions, registerInteractions } from './interactions.ts'
import { type MessageContext, questionOfMessage } from './message.ts'
import { messageSchema, teamOf } from './payloads.ts'
import type { SlackSettings } from './settings.ts'
import { editedId, questionId } from './target.ts'

export interface SlackApp {
  /** Connects, where it is we who connect. @throws SetupError when Slack does not know the token. */
  start(): Promise<void>
  stop(): Promise<void>
}

export interface SlackAppOptions extends Omit<InteractionOptions, 'now'> {
  settings: SlackSettings
  /** How events come; without it over a connection from here. */
  receiver?: Receiver
  now?: () => number
}

/** An app_mention may come before the message with the files: so long it waits to be overtaken. */
export const MENTION_DELAY_MS = 1_500

/** A message event: a message, or what became of one. */
const changeSchema = messageSchema.extend({
  channel: z.string(),
  channel_type: z.string().nullish(),
  deleted_ts: z.string().nullish(),
  message: messageSchema.nullish(),
  previous_message: messageSchema.nullish(),
})

export function slackApp(options: SlackAppOptions): SlackApp {
  const { settings, sink, report, now = Date.now } = options
  const client = slackClient(settings)
  let identity: Promise<{ botUserId: string; botId?: string }> | undefined
  /** Asked once; again only after it failed. */
  const botIdentity = () => {
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
    authorize: async () => ({ botToken: settings.botToken, ...(await botIdentity()) }),
    receiver: options.receiver ?? ackAfterRecording(socketReceiver(settings), report),
    clientOptions: clientOptions(settings.apiUrl),
    logLevel: LogLevel.ERROR,
  })
  // Thrown on, so that whoever brought the event hears that it is not recorded.
  app.error(async (error) => {
    throw error
  })

  const contextOf = async (body: unknown, channel: string, isDirect: boolean): Promise<MessageContext> => ({
    team: teamOf(body),
    channel,
    isDirect,
    me: (await botIdentity()).botUserId,
    now: now(),
  })

  app.event('app_mention', async ({ event, body }) => {
    const message = messageSchema.safeParse(event)
    if (!message.success) return
    const question = questionOfMessage(message.data, await contextOf(body, event.channel, false))
    if (question) await sink.submit(question, question.pictures.length > 0 ? 0 : MENTION_DELAY_MS)
  })

  app.event('message', async ({ event, body }) => {
    // Of some other shape, it is no message of a person.
    const parsed = changeSchema.safeParse(event)
    if (!parsed.success) return
    const change = parsed.data
    const isDirect = change.channel_type === 'im' || change.channel.startsWith('D')
    const context = await contextOf(body, change.channel, isDirect)
    const deletedTs = deletedMessageTs(change)
    if (deletedTs !== undefined) {
      await sink.retract(questionId(context, deletedTs))
      return await sink.retract(editedId(questionId(context, deletedTs)))
    }
    const question =
      change.subtype === 'message_changed'
        ? questionOfEdit(change, context)
        : questionOfMessage(change, context)
    if (question) await sink.submit(question)
  })

  registerInteractions(app, client, { ...options, now })

  return {
    async start() {
      await botIdentity().catch((cause: unknown) => {
        throw slackErrorCode(cause) === undefined
          ? toGlimpseError(cause)
          : new SetupError(
              'bad_slack_token',
              `Expected Slack to know SLACK_BOT_TOKEN but it said ${slackErrorCode(cause)}. Copy the Bot User OAuth Token (xoxb-...) from the app's page "OAuth & Permissions".`,
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
function deletedMessageTs({
  subtype,
  deleted_ts,
  message,
}: z.infer<typeof changeSchema>): string | undefined {
  if (subtype === 'message_deleted') return deleted_ts ?? undefined
  return subtype === 'message_changed' && message?.subtype === 'tombstone' ? message.ts : undefined
}

/** An edit asks nothing new, unless it brings a picture. */
function questionOfEdit(change: z.infer<typeof changeSchema>, context: MessageContext): Question | undefined {
  const { message, previous_message } = change
  // Without the message as it was nobody can tell whether the picture is new.
  if (
    !message ||
    !previous_message ||
    (previous_message.files ?? []).length > 0 ||
    (message.files ?? []).length === 0
  )
    return undefined
  const question = questionOfMessage(message, context)
  return question && { ...question, id: editedId(question.id) }
}
