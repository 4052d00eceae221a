// What people click and type into in Slack -> the desk: "Describe this image", /caption, /caption-settings, the app's home.
// Each is acknowledged and recorded; answers come through the address that Slack gave for it.

import type { App } from '@slack/bolt'
import { z } from 'zod'
import type { Preferences } from '../chat/preferences.ts'
import type { QuestionSink } from '../chat/processor.ts'
import { personOf } from '../chat/question.ts'
import type { Engine } from '../engine/engine.ts'
import type { ModelCard } from '../engine/protocol.ts'
import { messagesFor } from '../i18n/languages.ts'
import { discard } from '../retry.ts'
import { HOUR_MS } from '../time.ts'
import { type Client, toGlimpseError } from './api.ts'
import { fileSchema, messageSchema, teamOf } from './payloads.ts'
import { pictureOf, picturesOf } from './pictures.ts'
import type { SlackPlatform } from './platform.ts'
import { escapeMrkdwn } from './render.ts'
import { channelKey, personId, type ReplyTarget } from './target.ts'
import {
  CAPTION_VIEW,
  captionView,
  homeView,
  OPT_IN_ACTION,
  OPT_OUT_ACTION,
  parseCaptionSubmission,
  parseSettingsSubmission,
  SETTINGS_VIEW,
  settingsView,
} from './views.ts'

export const CAPTION_COMMAND = '/caption'
export const SETTINGS_COMMAND = '/caption-settings'
export const DESCRIBE_SHORTCUT = 'describe_image'

export interface InteractionOptions {
  platform: SlackPlatform
  sink: QuestionSink
  preferences: Preferences
  engine: Promise<Engine>
  keepMs: number
  report: (error: unknown) => void
  now: () => number
}

const LOCALE_WAIT_MS = 700
const RESPOND_TIMEOUT_MS = 5_000

/** What a window of ours is given to say where its answer goes. */
const modalMetadataSchema = z.object({
  team: z.string(),
  user: z.string(),
  channel: z.string(),
  url: z.string(),
})
type ModalMetadata = z.infer<typeof modalMetadataSchema>

export function registerInteractions(app: App, client: Client, options: InteractionOptions): void {
  const { platform, sink, preferences, engine, report, now } = options
  let model: ModelCard | undefined
  engine.then(
    (open) => {
      model = open.model
    },
    () => {},
  )
  /** A window must be opened within 3 s of the click: then rather in English. */
  const localeInTime = async (user: string): Promise<string | undefined> => {
    const late = new Promise<undefined>((resolve) => setTimeout(resolve, LOCALE_WAIT_MS, undefined).unref())
    return (await Promise.race([platform.profileOf(user), late]))?.locale
  }

  const privateQuestion = (
    team: string,
    user: string,
    channel: string,
    url: string,
    thread_ts?: string | null,
  ) => ({
    platform: 'slack',
    asker: { id: personId(team, user) },
    channel: channelKey(team, channel),
    askedAt: now(),
    route: { kind: 'response', team, url, user, thread_ts: thread_ts ?? undefined } satisfies ReplyTarget,
  })

  app.shortcut(
    { callback_id: DESCRIBE_SHORTCUT, type: 'message_action' },
    async ({ shortcut, body, ack }) => {
      const message = messageSchema.parse(shortcut.message)
      const team = teamOf(body)
      const { pictures, owner } = picturesOf(message)
      const id = `slack/${team}/shortcut/${shortcut.action_ts}/${shortcut.user.id}`
      await sink.submit({
        ...privateQuestion(
          team,
          shortcut.user.id,
          shortcut.channel.id,
          shortcut.response_url,
          message.thread_ts,
        ),
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
    const messages = messagesFor(await localeInTime(user))
    const privateMetadata: ModalMetadata = { team, user, channel, url }
    await client.views.open({
      trigger_id: command.trigger_id,
      view: captionView(messages, JSON.stringify(privateMetadata), command.text ?? ''),
    })
  })

  app.view(CAPTION_VIEW, async ({ view, ack }) => {
    const { team, user, channel, url } = modalMetadataSchema.parse(JSON.parse(view.private_metadata))
    const { files, question } = parseCaptionSubmission(view.state.values)
    const id = `slack/${team}/view/${view.id}`
    await sink.submit({
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
    const messages = messagesFor(await localeInTime(user))
    const isAutomatic = await preferences.isAutomatic(channelKey(team, channel))
    const privateMetadata: ModalMetadata = { team, user, channel, url }
    await client.views.open({
      trigger_id: command.trigger_id,
      view: settingsView(messages, JSON.stringify(privateMetadata), isAutomatic),
    })
  })

  app.view(SETTINGS_VIEW, async ({ view, ack }) => {
    await ack()
    const { team, user, channel, url } = modalMetadataSchema.parse(JSON.parse(view.private_metadata))
    const on = parseSettingsSubmission(view.state.values)
    const name = channelKey(team, channel)
    if (on === (await preferences.isAutomatic(name))) return
    const { problem, done } = messagesFor(await localeInTime(user))
    if ((await platform.profileOf(user))?.isGuest) return await respondEphemerally(url, problem.not_allowed)
    // Said where it holds, so that whoever posts there knows; where that cannot be said it does not hold.
    const text = `<@${user}>: ${escapeMrkdwn(on ? done.automaticOn : done.automaticOff)}`
    const posted = await client.chat.postMessage({ channel, text }).catch((error: unknown) => {
      report(toGlimpseError(error))
      return undefined
    })
    if (on && !posted) return await respondEphemerally(url, problem.not_here)
    await preferences.setAutomatic(name, on)
  })

  /** To the asker alone. */
  const respondEphemerally = async (url: string, text: string): Promise<void> => {
    const body = JSON.stringify({
      response_type: 'ephemeral',
      replace_original: false,
      text: escapeMrkdwn(text),
    })
    const headers = { 'content-type': 'application/json' }
    const signal = AbortSignal.timeout(RESPOND_TIMEOUT_MS)
    await fetch(url, { method: 'POST', headers, body, signal }).then(discard, report)
  }

  const publishHome = async (team: string, user: string) => {
    const messages = messagesFor(await localeInTime(user))
    const hasOptedOut = await preferences.hasOptedOut(personOf('slack', personId(team, user)))
    const view = homeView(messages, model, { hasOptedOut, keepHours: options.keepMs / HOUR_MS })
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
}
