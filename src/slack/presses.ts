// A press of a button under a reply, and the modal of "ask" -> questions, and deletions of replies.
//
// Source: docs.slack.dev, "block_actions payload".

import type { App } from '@slack/bolt'
import { z } from 'zod'
import type { EventDeps } from '../chat/adapter.ts'
import { type Action, askAgain } from '../chat/again.ts'
import { maybe } from '../chat/payload.ts'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import type { Messages } from '../i18n/messages.ts'
import { type Client, removeEphemeral, respondEphemerally, slackErrorCode, toGlimpseError } from './api.ts'
import { actionId, type ButtonValue, valueSchema } from './buttons.ts'
import type { SlackPlatform } from './platform.ts'
import { escapeMrkdwn } from './render.ts'
import { channelKey, messageKey, personId, type ReplyTarget } from './target.ts'
import { ASK_VIEW, askView, parseAskSubmission } from './views.ts'

const pressedSchema = z.object({
  user: z.object({ id: z.string() }),
  channel: z.object({ id: z.string() }),
  container: z.object({
    message_ts: z.string(),
    thread_ts: maybe(z.string()),
    is_ephemeral: z.boolean().default(false),
  }),
  message: maybe(z.object({ thread_ts: maybe(z.string()) })),
  response_url: z.string(),
  trigger_id: z.string(),
  actions: z.tuple([z.object({ value: z.string(), action_ts: z.string() })], z.unknown()),
})

/** What the modal of "ask" returns with its submission: all of the question but its words. */
const aboutSchema = z.object({
  user: z.string(),
  channel: z.string(),
  conversations: z.array(z.string()).min(1),
  route: z.record(z.string(), z.unknown()),
})
type About = z.infer<typeof aboutSchema>

interface ButtonOptions {
  platform: SlackPlatform
  sink: QuestionSink
  lastQuestion?: EventDeps['lastQuestion']
  report: (error: unknown) => void
}

export function registerButtons(
  app: App,
  client: Client,
  installation: () => string,
  messagesOf: (user: string) => Promise<Messages>,
  { platform, sink, lastQuestion, report }: ButtonOptions,
): void {
  const questionOf = (id: string, text: string, { user, channel, ...about }: About): Question => ({
    ...about,
    id,
    platform: 'slack',
    trigger: 'command',
    text,
    pictures: [],
    asker: { id: personId(installation(), user) },
    channel: channelKey(installation(), channel),
    askedAt: Date.now(),
  })

  const onPress = (
    action: Action,
    act: (pressed: z.infer<typeof pressedSchema>, about: About, value: ButtonValue) => Promise<void>,
  ) =>
    app.action(actionId(action), async ({ body, ack }) => {
      const pressed = pressedSchema.parse(body)
      const user = pressed.user.id
      const value = valueSchema.parse(JSON.parse(pressed.actions[0].value))
      const isAsker = value.asker === personId(installation(), user)
      if (isAsker || (await platform.profileOf(user))?.isModerator) {
        await act(pressed, aboutOf(installation(), pressed, value), value)
        return await ack()
      }
      await ack()
      const { problem } = await messagesOf(user)
      await respondEphemerally(pressed.response_url, { text: escapeMrkdwn(problem.not_yours) }).catch(report)
    })

  onPress('ask', async ({ trigger_id, user }, about) => {
    const view = askView(await messagesOf(user.id), JSON.stringify(about))
    await client.views.open({ trigger_id, view })
  })
  onPress('again', async ({ actions: [{ action_ts }] }, about, { isCaption }) => {
    const question = questionOf(`slack/${installation()}/action/${action_ts}/${about.user}`, '', about)
    const conversation = isCaption ? undefined : about.conversations[0]
    await sink.submit(await askAgain(question, conversation, lastQuestion))
  })
  onPress('delete', async ({ channel, container, response_url }) => {
    if (container.is_ephemeral) return await removeEphemeral(response_url)
    await client.chat.delete({ channel: channel.id, ts: container.message_ts }).catch((error: unknown) => {
      if (slackErrorCode(error) !== 'message_not_found') throw toGlimpseError(error)
    })
  })
  app.view(ASK_VIEW, async ({ view, ack }) => {
    const about = aboutSchema.parse(JSON.parse(view.private_metadata))
    const id = `slack/${installation()}/view/${view.id}`
    await sink.submit(questionOf(id, parseAskSubmission(view.state.values), about))
    await ack()
  })
}

/** The answer goes where the reply is: to its thread, or to the one person who sees it. */
function aboutOf(
  team: string,
  {
    user: { id: user },
    channel: { id: channel },
    container,
    message,
    response_url,
  }: z.infer<typeof pressedSchema>,
  { conversation }: ButtonValue,
): About {
  const thread_ts = message?.thread_ts ?? container.thread_ts
  if (container.is_ephemeral) {
    const route: ReplyTarget = { kind: 'response', team, user, url: response_url, thread_ts }
    return { user, channel, conversations: [conversation], route }
  }
  const isDirect = channel.startsWith('D')
  const route: ReplyTarget = { kind: 'message', team, channel, user, isDirect, thread_ts }
  const reply = messageKey({ team, channel }, container.message_ts)
  return { user, channel, conversations: [reply, conversation], route }
}
