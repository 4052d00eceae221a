// A reply -> posted in Slack, found again, and deleted. A message in a channel is found again by its metadata.

import { z } from 'zod'
import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { type Client, respondEphemerally, slackErrorCode, toGlimpseError } from './api.ts'
import { buttonsOf, hasButtons } from './buttons.ts'
import { escapeMrkdwn, renderReply, section } from './render.ts'
import { type MessageTarget, messageKey, replyTargetOf } from './target.ts'

/** Metadata type of Glimpse's replies. */
const METADATA = 'glimpse_reply'

/** @throws UpstreamError when a later try may succeed; RequestError when Slack refuses every place */
export async function postReply(client: Client, question: Question, reply: ChatReply): Promise<Posted[]> {
  const target = replyTargetOf(question)
  const rendered = renderReply(reply, buttonsOf(reply, question))
  if (target.kind === 'response') {
    await respondEphemerally(target.url, { thread_ts: target.thread_ts, ...rendered })
    return []
  }
  const { channel, user, thread_ts } = target
  const body = { channel, thread_ts, ...rendered }
  try {
    if (reply.ephemeral && !target.isDirect) {
      // Slack shows it in a thread only if the thread exists. That of a new message does not exist yet.
      const isInThread = thread_ts !== question.source
      await client.chat.postEphemeral({ ...body, thread_ts: isInThread ? thread_ts : undefined, user })
      return []
    }
    const metadata = { event_type: METADATA, event_payload: markOf(question) }
    const { ts } = await client.chat.postMessage({
      ...body,
      unfurl_links: false,
      unfurl_media: false,
      metadata,
    })
    return [postedAs(target, ts!)]
  } catch (error) {
    const failure = toGlimpseError(error)
    if (!(failure instanceof RequestError) || question.trigger === 'automatic') throw failure
    return await postToAsker(client, target, reply).catch((second: unknown) => {
      throw toGlimpseError(second)
    })
  }
}

/** A direct message to the asker, for a channel where the bot may not post. */
async function postToAsker(client: Client, { user }: MessageTarget, reply: ChatReply): Promise<Posted[]> {
  const opened = await client.conversations.open({ users: user })
  const channel = opened.channel?.id
  if (!channel) throw new RequestError('cannot_reply', 'Slack opened no direct message with the asker.')
  const { text, blocks } = renderReply(reply)
  const why = reply.messages.problem.cannot_reply
  const { ts } = await client.chat.postMessage({
    channel,
    text: `${escapeMrkdwn(why)}\n${text}`,
    blocks: [section(why), ...blocks],
  })
  return [{ channel, ts: ts! }]
}

/** Undefined when there is no reply, or when the app may not read the channel. @throws UpstreamError */
export async function findReply(client: Client, question: Question): Promise<Posted[] | undefined> {
  const target = replyTargetOf(question)
  if (target.kind !== 'message') return undefined
  const { channel, thread_ts } = target
  const since = { channel, oldest: question.source, include_all_metadata: true, limit: 100 }
  try {
    const { messages } = thread_ts
      ? await client.conversations.replies({ ...since, ts: thread_ts })
      : await client.conversations.history(since)
    const found = messages?.find((each) => markIn(each)?.question === markOf(question).question)
    return found?.ts ? [postedAs(target, found.ts)] : undefined
  } catch (error) {
    const failure = toGlimpseError(error)
    if (failure instanceof UpstreamError) throw failure
    return undefined
  }
}

/** @throws UpstreamError; RequestError when Slack refuses */
export async function removeReply(client: Client, { channel, ts }: Posted): Promise<void> {
  if (!channel || !ts) return
  await client.chat.delete({ channel, ts }).catch((error: unknown) => {
    if (slackErrorCode(error) !== 'message_not_found') throw toGlimpseError(error)
  })
}

/** The reply starts a conversation of its own: a message in its thread is about the same picture. */
function postedAs(target: MessageTarget, ts: string): Posted {
  return { channel: target.channel, ts, conversation: messageKey(target, ts) }
}

/**
 * Whether another installation of Glimpse has replied to the question's message, before this one's reply `posted` if it is
 * given. Of a reply whose metadata this app cannot read, the buttons tell that it is one.
 * @throws when Slack does not show the thread
 */
export async function isAnsweredByOther(
  client: Client,
  question: Question,
  posted: readonly Posted[] = [],
): Promise<boolean> {
  const { channel, thread_ts: ts } = replyTargetOf(question) as MessageTarget
  const { source } = question
  if (!ts || !source) return false
  const thread = { channel, ts, oldest: source, include_all_metadata: true, limit: 100 }
  const { messages = [] } = await client.conversations.replies(thread)
  const before = Math.min(...posted.map((each) => Number(each['ts'])))
  const own = markOf(question)
  return messages.some((message) => {
    if (Number(message.ts) <= Number(source) || Number(message.ts) >= before) return false
    const mark = markIn(message)
    if (mark) return mark.source === own.source && mark.question !== own.question
    return message.metadata === undefined && message.bot_id !== undefined && hasButtons(message.blocks)
  })
}

const markSchema = z.object({
  event_type: z.literal(METADATA),
  event_payload: z.object({ question: z.string(), source: z.string().optional() }),
})

/** The metadata of a reply: its question, and the message that this is in. It contains nothing else about them. */
function markOf({ id, source }: Question): z.infer<typeof markSchema>['event_payload'] {
  return { question: sha256Hex(id).slice(0, 32), source }
}

function markIn({ metadata }: { metadata?: unknown }) {
  return markSchema.safeParse(metadata).data?.event_payload
}
