// A reply -> posted in Slack, found again, and deleted. A message in a channel is found again by its metadata.

import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { type Client, respondEphemerally, slackErrorCode, toGlimpseError } from './api.ts'
import { buttonsOf } from './buttons.ts'
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
    const metadata = { event_type: METADATA, event_payload: { question: markOf(question) } }
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
    const found = messages?.find(({ metadata }) => {
      const payload = metadata?.event_payload as { question?: unknown } | undefined
      return metadata?.event_type === METADATA && payload?.question === markOf(question)
    })
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

/** Identifies the question of a reply, and contains nothing else about it. */
function markOf({ id }: Question): string {
  return sha256Hex(id).slice(0, 32)
}
