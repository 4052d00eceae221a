// Slack's events -> questions and retractions for the sink. Bolt receives them over Socket Mode or HTTP. A listener only
// records an event and never waits for the model.

import { App, LogLevel, type Receiver, type webApi } from '@slack/bolt'
import { fileKey } from '../chat/question.ts'
import { SetupError } from '../errors.ts'
import { clientOptions, slackClient, slackErrorCode, toGlimpseError } from './api.ts'
import { type SocketReceiver, socketReceiver } from './connection.ts'
import { type InteractionOptions, registerInteractions } from './interactions.ts'
import {
  type MessageContext,
  mayGetPictures,
  questionOfEdit,
  questionOfMessage,
  removedFiles,
} from './message.ts'
import { messageEventSchema, type SlackMessageEvent } from './payloads.ts'
import type { SlackSettings } from './settings.ts'
import { editedKey, messageKey } from './target.ts'

export type SlackApp = ReturnType<typeof slackApp>

interface SlackAppOptions extends InteractionOptions {
  settings: SlackSettings
  /** Default: Socket Mode. */
  receiver?: Receiver
}

/** An app_mention may arrive before the message event that has its files. Without files it is held for this long. */
export const MENTION_DELAY_MS = 1_500

export function slackApp(options: SlackAppOptions) {
  const { settings, sink } = options
  const client = slackClient(settings)
  let identity: webApi.AuthTestResponse | undefined
  /** Calls auth.test until one succeeds. Bolt's own would keep a failure. */
  const botIdentity = async () => {
    identity ??= await client.auth.test()
    return { botUserId: identity.user_id!, botId: identity.bot_id }
  }
  const installation = () => installationOf(identity)
  const receiver = options.receiver ?? socketReceiver(settings, options)
  const app = new App({
    authorize: async () => ({ botToken: settings.botToken, ...(await botIdentity()) }),
    receiver,
    clientOptions: clientOptions(settings.apiUrl),
    logLevel: LogLevel.ERROR,
  })
  // The receiver must learn that the event is not recorded.
  app.error(async (error) => {
    throw error
  })

  const contextOf = ({ channel, channel_type }: SlackMessageEvent, me = ''): MessageContext => {
    const isDirect = channel_type === 'im' || channel.startsWith('D')
    return { team: installation(), channel, isDirect, me, now: Date.now() }
  }

  // Events of another shape are not messages of people.
  app.event('app_mention', async ({ event, context: { botUserId } }) => {
    const message = messageEventSchema.safeParse(event).data
    const question = message && questionOfMessage(message, contextOf(message, botUserId))
    if (question) await sink.submit(question, question.pictures.length > 0 ? 0 : MENTION_DELAY_MS)
  })

  app.event('message', async ({ event, context: { botUserId } }) => {
    const message = messageEventSchema.safeParse(event).data
    if (!message) return
    const context = contextOf(message, botUserId)
    const deletedTs = deletedMessageTs(message)
    if (deletedTs !== undefined) {
      await sink.retract(messageKey(context, deletedTs))
      return await sink.retract(editedKey(context, deletedTs))
    }
    // Before the edit is read as a question: what is removed is forgotten even if the rest asks anew.
    for (const file of removedFiles(message)) await sink.retract(fileKey('slack', file))
    const isEdit = message.subtype === 'message_changed'
    const question = isEdit ? questionOfEdit(message, context) : questionOfMessage(message, context)
    if (question) await sink.submit(question, mayGetPictures(message, question) ? MENTION_DELAY_MS : 0)
  })

  app.event('file_deleted', async ({ event: { file_id } }) => {
    await sink.retract(fileKey('slack', file_id))
  })

  registerInteractions(app, client, installation, options)

  return {
    /** Checks the token, and connects in Socket Mode. @throws SetupError `bad_slack_token`; UpstreamError */
    async start(): Promise<void> {
      await botIdentity().catch((cause: unknown) => {
        const code = slackErrorCode(cause)
        if (code === undefined) throw toGlimpseError(cause)
        throw new SetupError(
          'bad_slack_token',
          `Slack refused SLACK_BOT_TOKEN (${code}). Copy the Bot User OAuth Token (xoxb-...) from the app's page ` +
            '"OAuth & Permissions".',
          { cause },
        )
      })
      await app.start()
    },
    stop: async () => void (await app.stop()),
    fault: () => (receiver as Partial<SocketReceiver>).fault?.(),
  }
}

/**
 * The id that store keys begin with: of the workspace that the token belongs to, or of the organization for an org-wide
 * installation. Payloads name other workspaces as well: the sender's, or none (Slack Connect, Enterprise Grid).
 */
function installationOf(identity: webApi.AuthTestResponse | undefined): string {
  const { is_enterprise_install, enterprise_id, team_id } = identity ?? {}
  return (is_enterprise_install ? enterprise_id : undefined) ?? team_id ?? 'unknown'
}

/** The `ts` of a message that was deleted. One with replies becomes a tombstone instead. */
function deletedMessageTs({ subtype, deleted_ts, message }: SlackMessageEvent): string | undefined {
  if (subtype === 'message_deleted') return deleted_ts
  return subtype === 'message_changed' && message?.subtype === 'tombstone' ? message.ts : undefined
}
