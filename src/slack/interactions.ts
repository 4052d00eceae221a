// Slack's interactions -> questions and settings: the shortcut "Describe this image", /caption, /caption-settings, the
// app's home. A question is acknowledged after it is recorded. Its reply is posted to the interaction's `response_url`.

import { setTimeout } from 'node:timers/promises'
import type { App, SlashCommand, types } from '@slack/bolt'
import { z } from 'zod'
import type { EventDeps } from '../chat/adapter.ts'
import type { Preferences } from '../chat/preferences.ts'
import type { QuestionSink } from '../chat/processor.ts'
import { personOf } from '../chat/question.ts'
import type { Engine } from '../engine/engine.ts'
import type { ModelCard } from '../engine/protocol.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import { HOUR_MS } from '../time.ts'
import { type Client, respondEphemerally, toGlimpseError } from './api.ts'
import { fileSchema, messageSchema } from './payloads.ts'
import { pictureOf, picturesOf } from './pictures.ts'
import type { SlackPlatform } from './platform.ts'
import { registerButtons } from './presses.ts'
import { escapeMrkdwn } from './render.ts'
import { channelKey, personId, responseSchema } from './target.ts'
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
  lastQuestion?: EventDeps['lastQuestion']
  preferences: Preferences
  engine: Promise<Engine>
  keepMs: number
  report: (error: unknown) => void
}

/** Slack accepts a modal within 3 s of the command. When the user's locale takes longer, the modal is in English. */
const LOCALE_WAIT_MS = 700

/** Where a command was used, and where its reply goes. A modal returns it with its submission. */
const originSchema = responseSchema.extend({ channel: z.string() })
type Origin = z.infer<typeof originSchema>

/** `installation`: the id that store keys begin with. */
export function registerInteractions(
  app: App,
  client: Client,
  installation: () => string,
  options: InteractionOptions,
): void {
  const { platform, sink, preferences, engine, report } = options
  let model: ModelCard | undefined
  engine.then((open) => (model = open.model)).catch(() => {})
  const messagesOf = async (user: string): Promise<Messages> => {
    const late = setTimeout(LOCALE_WAIT_MS, undefined, { ref: false })
    return messagesFor((await Promise.race([platform.profileOf(user), late]))?.locale)
  }

  /** The fields of a question whose reply only its asker sees. */
  const privateQuestion = (id: string, origin: Origin) => ({
    id,
    platform: 'slack',
    asker: { id: personId(origin.team, origin.user) },
    channel: channelKey(origin.team, origin.channel),
    conversations: [id],
    askedAt: Date.now(),
    route: origin,
  })

  const registerModal = (
    name: string,
    callback_id: string,
    viewOf: (messages: Messages, command: SlashCommand) => Promise<types.ModalView>,
  ) =>
    app.command(name, async ({ command, ack }) => {
      await ack()
      const { user_id: user, channel_id: channel, response_url: url, trigger_id } = command
      const origin: Origin = { kind: 'response', team: installation(), user, channel, url }
      const view = await viewOf(await messagesOf(user), command)
      const private_metadata = JSON.stringify(origin)
      await client.views.open({ trigger_id, view: { ...view, callback_id, private_metadata } })
    })
  registerButtons(app, client, installation, messagesOf, options)
  const originOf = (view: { private_metadata: string }) =>
    originSchema.parse(JSON.parse(view.private_metadata))

  app.shortcut({ callback_id: DESCRIBE_SHORTCUT, type: 'message_action' }, async ({ shortcut, ack }) => {
    const message = messageSchema.parse(shortcut.message)
    const team = installation()
    const user = shortcut.user.id
    const { pictures, owner } = picturesOf(message)
    const { channel, response_url: url, action_ts } = shortcut
    const { thread_ts } = message
    const origin: Origin = { kind: 'response', team, user, channel: channel.id, url, thread_ts }
    await sink.submit({
      ...privateQuestion(`slack/${team}/shortcut/${action_ts}/${user}`, origin),
      trigger: 'shortcut',
      text: '',
      pictures,
      owner: owner && personId(team, owner),
    })
    await ack()
  })

  registerModal(CAPTION_COMMAND, CAPTION_VIEW, async (messages, { text }) =>
    captionView(messages, text ?? ''),
  )
  app.view(CAPTION_VIEW, async ({ view, ack }) => {
    const origin = originOf(view)
    const { team, user } = origin
    const { files, question } = parseCaptionSubmission(view.state.values)
    await sink.submit({
      ...privateQuestion(`slack/${team}/view/${view.id}`, origin),
      trigger: 'command',
      text: question,
      pictures: files.map((file) => pictureOf(fileSchema.parse(file))),
      owner: personId(team, user),
    })
    await ack()
  })

  registerModal(SETTINGS_COMMAND, SETTINGS_VIEW, async (messages, { channel_id }) =>
    settingsView(messages, await preferences.isAutomatic(channelKey(installation(), channel_id))),
  )
  app.view(SETTINGS_VIEW, async ({ view, ack }) => {
    await ack()
    const { team, user, channel, url } = originOf(view)
    const isAutomatic = parseSettingsSubmission(view.state.values)
    const key = channelKey(team, channel)
    if (isAutomatic === (await preferences.isAutomatic(key))) return
    const { problem, done } = await messagesOf(user)
    const refuse = (text: string) => respondEphemerally(url, { text: escapeMrkdwn(text) }).catch(report)
    if ((await platform.profileOf(user))?.isGuest) return await refuse(problem.not_allowed)
    // The channel is informed first. Automatic captions stay off in a channel where the bot cannot post.
    const text = `<@${user}>: ${escapeMrkdwn(isAutomatic ? done.automaticOn : done.automaticOff)}`
    const posted = await client.chat.postMessage({ channel, text }).catch((error: unknown) => {
      report(toGlimpseError(error))
      return undefined
    })
    if (isAutomatic && !posted) return await refuse(problem.not_here)
    await preferences.setAutomatic(key, isAutomatic)
  })

  const person = (user: string) => personOf('slack', personId(installation(), user))
  const publishHome = async (user: string) => {
    const messages = await messagesOf(user)
    const hasOptedOut = await preferences.hasOptedOut(person(user))
    const view = homeView(messages, model, { hasOptedOut, keepHours: options.keepMs / HOUR_MS })
    await client.views.publish({ user_id: user, view })
  }
  app.event('app_home_opened', async ({ event }) => {
    if (event.tab === 'home') await publishHome(event.user)
  })
  for (const action of [OPT_OUT_ACTION, OPT_IN_ACTION]) {
    app.action(action, async ({ body, ack }) => {
      await ack()
      await preferences.setOptedOut(person(body.user.id), action === OPT_OUT_ACTION)
      await publishHome(body.user.id)
    })
  }
}
