// Slack's events -> the desk. Bolt hears them, over a connection from here (Socket Mode) or over HTTP; each listener
// records what came, which is quick, and nothing waits for the model.

import { App, LogLevel, type Receiver, SocketModeReceiver } from '@slack/bolt'
import { z } from 'zod'
import type { Desk } from '../chat/desk.ts'
import type { Preferences } from '../chat/preferences.ts'
import { personOf, type Question } from '../chat/question.ts'
import { SetupError } from '../errors.ts'
import type { Engine } from '../job/engine.ts'
import type { ModelCard } from '../job/protocol.ts'
import { wordsFor } from '../words/languages.ts'
import { clientOptions, refusalOf, slackClient, translated } from './client.ts'
import {
  fileSchema,
  messageSchema,
  personId,
  pictureOf,
  picturesOf,
  questionId,
  questionOfMessage,
  type Surroundings,
} from './message.ts'
import type { SlackPlatform } from './platform.ts'
import type { SlackRoute } from './post.ts'
import { escaped } from './render.ts'
import type { SlackSettings } from './settings.ts'
import {
  CAPTION_VIEW,
  captionView,
  choseAutomatic,
  enteredIn,
  homeView,
  OPT_IN_ACTION,
  OPT_OUT_ACTION,
  SETTINGS_VIEW,
  settingsError,
  settingsView,
} from './views.ts'

export const CAPTION_COMMAND = '/caption'
export const SETTINGS_COMMAND = '/caption-settings'
export const DESCRIBE_SHORTCUT = 'describe_image'

export interface SlackApp {
  /** Connects, where it is we who connect. @throws SetupError when Slack does not know the token. */
  start(): Promise<void>
  stop(): Promise<void>
}

export interface SlackAppOptions {
  settings: SlackSettings
  platform: SlackPlatform
  desk: Desk
  preferences: Preferences
  engine: Promise<Engine>
  keepMs: number
  /** How events come; without it over a connection from here. */
  receiver?: Receiver
  report: (error: unknown) => void
  now?: () => number
}

const HOUR_MS = 3_600_000
/** An app_mention may come before the message with the files: so long it waits to be overtaken. */
const HOLD_MS = 1_500

/** What a window of ours is given to say where its answer goes. */
const memorySchema = z.object({ team: z.string(), user: z.string(), channel: z.string(), url: z.string() })
type ViewMemory = z.infer<typeof memorySchema>

/** A message event: a message, or what became of one. */
const changeSchema = messageSchema.extend({
  channel: z.string(),
  channel_type: z.string().nullish(),
  deleted_ts: z.string().nullish(),
  message: messageSchema.nullish(),
  previous_message: messageSchema.nullish(),
})

export function slackApp(options: SlackAppOptions): SlackApp {
  const { settings, platform, desk, preferences, engine, report, now = Date.now } = options
  const client = slackClient(settings)
  let model: ModelCard | undefined
  engine.then(
    (open) => {
      model = open.model
    },
    () => {},
  )
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
    receiver: options.receiver ?? socketReceiver(settings),
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
    if (question) await desk.accept(question, question.pictures.length > 0 ? 0 : HOLD_MS)
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
      await desk.withdraw(questionId(here, gone))
      return await desk.withdraw(editedId(questionId(here, gone)))
    }
    const question =
      change.subtype === 'message_changed' ? questionOfEdit(change, here) : questionOfMessage(change, here)
    if (question) await desk.accept(question)
  })

  app.shortcut(
    { callback_id: DESCRIBE_SHORTCUT, type: 'message_action' },
    async ({ shortcut, body, ack }) => {
      const message = messageSchema.parse(shortcut.message)
      const team = teamOf(body)
      const { pictures, owner } = picturesOf(message)
      const id = `slack/${team}/shortcut/${shortcut.action_ts}/${shortcut.user.id}`
      await desk.accept({
        ...privateQuestion(team, shortcut.user.id, shortcut.channel.id, shortcut.response_url),
        id,
        trigger: 'shortcut',
        text: '',
        pictures,
        owner: owner === undefined ? undefined : personId(team, owner),
        conversations: [id],
      })
      await ack()
    },
  )

  app.command(CAPTION_COMMAND, async ({ command, ack }) => {
    await ack()
    const { team_id: team, user_id: user, channel_id: channel, response_url: url } = command
    const words = wordsFor(await platform.localeOfUser(user))
    const memory: ViewMemory = { team, user, channel, url }
    await client.views.open({
      trigger_id: command.trigger_id,
      view: captionView(words, JSON.stringify(memory), command.text ?? ''),
    })
  })

  app.view(CAPTION_VIEW, async ({ view, ack }) => {
    const { team, user, channel, url } = memorySchema.parse(JSON.parse(view.private_metadata))
    const { files, question } = enteredIn(view.state.values)
    const id = `slack/${team}/view/${view.id}`
    await desk.accept({
      ...privateQuestion(team, user, channel, url),
      id,
      trigger: 'command',
      text: question,
      pictures: files.map((file) => pictureOf(fileSchema.parse(file))),
      owner: personId(team, user),
      conversations: [id],
    })
    await ack()
  })

  app.command(SETTINGS_COMMAND, async ({ command, ack }) => {
    await ack()
    const { team_id: team, user_id: user, channel_id: channel, response_url: url } = command
    const words = wordsFor(await platform.localeOfUser(user))
    const isAutomatic = await preferences.isAutomatic(channelName(team, channel))
    const memory: ViewMemory = { team, user, channel, url }
    await client.views.open({
      trigger_id: command.trigger_id,
      view: settingsView(words, JSON.stringify(memory), isAutomatic),
    })
  })

  app.view(SETTINGS_VIEW, async ({ view, ack }) => {
    const { team, user, channel } = memorySchema.parse(JSON.parse(view.private_metadata))
    const on = choseAutomatic(view.state.values)
    const name = channelName(team, channel)
    const before = await preferences.isAutomatic(name)
    if (on === before) return await ack()
    const words = wordsFor(await platform.localeOfUser(user))
    const { user: who } = await client.users.info({ user })
    if (who?.is_restricted || who?.is_ultra_restricted || who?.is_stranger) {
      return await ack({ response_action: 'errors', errors: settingsError(words.problem.not_allowed) })
    }
    await preferences.setAutomatic(name, on)
    await ack()
    // Said where it holds: whoever posts there shall know.
    const text = on ? words.done.automaticOn : words.done.automaticOff
    await client.chat
      .postMessage({ channel, text: `<@${user}>: ${escaped(text)}` })
      .catch((error: unknown) => {
        report(translated(error))
      })
  })

  const publishHome = async (team: string, user: string) => {
    const words = wordsFor(await platform.localeOfUser(user))
    const hasOptedOut = await preferences.hasOptedOut(personOf('slack', personId(team, user)))
    const view = homeView(words, model, { hasOptedOut, keepHours: options.keepMs / HOUR_MS })
    await client.views.publish({ user_id: user, view })
  }
  app.event('app_home_opened', async ({ event, body }) => {
    if (event.tab === 'home') await publishHome(teamOf(body), event.user)
  })
  for (const action of [OPT_OUT_ACTION, OPT_IN_ACTION]) {
    app.action(action, async ({ body, ack }) => {
      await ack()
      const team = teamOf(body)
      await preferences.setOptedOut(
        personOf('slack', personId(team, body.user.id)),
        action === OPT_OUT_ACTION,
      )
      await publishHome(team, body.user.id)
    })
  }

  const privateQuestion = (team: string, user: string, channel: string, url: string) => ({
    platform: 'slack',
    asker: { id: personId(team, user) },
    channel: channelName(team, channel),
    askedAt: now(),
    route: { kind: 'response', team, url, user } satisfies SlackRoute,
  })

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
  if (!message || (previous_message?.files ?? []).length > 0 || (message.files ?? []).length === 0)
    return undefined
  const question = questionOfMessage(message, here)
  return question && { ...question, id: editedId(question.id) }
}

function editedId(id: string): string {
  return `${id}/edited`
}

function channelName(team: string, channel: string): string {
  return `slack/${team}/${channel}`
}

function teamOf(body: unknown): string {
  const { team_id, team } = z
    .looseObject({ team_id: z.string().nullish(), team: z.looseObject({ id: z.string() }).nullish() })
    .parse(body)
  return team_id ?? team?.id ?? 'unknown'
}

function socketReceiver({ appToken, apiUrl }: SlackSettings): Receiver {
  if (!appToken) {
    throw new SetupError(
      'no_slack_connection',
      'Expected SLACK_APP_TOKEN (a connection from here) or SLACK_SIGNING_SECRET (requests to here) beside SLACK_BOT_TOKEN but got neither. Take one from the app\'s page "Basic Information".',
    )
  }
  const receiver = new SocketModeReceiver({
    appToken,
    logLevel: LogLevel.ERROR,
    installerOptions: { clientOptions: clientOptions(apiUrl) },
  })
  return receiver
}
