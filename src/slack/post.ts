// A reply -> visible in Slack, found again, and taken back.

import type { ChatReply } from '../chat/compose.ts'
import type { Posted } from '../chat/platform.ts'
import type { Question } from '../chat/question.ts'
import { RequestError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { discard } from '../retry.ts'
import { type Client, slackErrorCode, toGlimpseError } from './api.ts'
import { escapeMrkdwn, renderReply, section } from './render.ts'
import { conversationKey, type MessageTarget, type ReplyTarget, replyTargetOf } from './target.ts'

/** Names our replies among all messages, and which question each answers. */
const METADATA = 'glimpse_reply'
const RESPOND_TIMEOUT_MS = 10_000

/** @throws UpstreamError when trying again may help; RequestError when Slack refuses it everywhere. */
export async function postReply(client: Client, question: Question, reply: ChatReply): Promise<Posted[]> {
  const target = replyTargetOf(question)
  if (target.kind === 'response') return await respond(target, reply)
  try {
    if (!reply.ephemeral || target.isDirect) return await postOpenly(client, question, target, reply)
    const { channel, user, thread_ts } = target
    await client.chat.postEphemeral({ channel, user, thread_ts, ...renderReply(reply) })
    return []
  } catch (error) {
    const failure = toGlimpseError(error)
    if (!(failure instanceof RequestError) || question.trigger === 'automatic') throw failure
    return await postToAsker(client, target, reply).catch((second: unknown) => {
      throw toGlimpseError(second)
    })
  }
}

/** In the thread, for everybody. */
async function postOpenly(
  client: Client,
  question: Question,
  target: MessageTarget,
  reply: ChatReply,
): Promise<Posted[]> {
  const { channel, thread_ts } = target
  const { ts } = await client.chat.postMessage({
    channel,
    thread_ts,
    ...renderReply(reply),
    unfurl_links: false,
    unfurl_media: false,
    metadata: { event_type: METADATA, event_payload: { question: markOf(question) } },
  })
  return [postedAs(target, ts!)]
}

/** Where we may not speak, the asker is told in a message of their own. */
async function postToAsker(client: Client, { user }: MessageTarget, reply: ChatReply): Promise<Posted[]> {
  const opened = await client.conversations.open({ users: user })
  const channel = opened.channel?.id
  if (!channel) throw new RequestError('cannot_reply', 'Expected a direct message to the asker but got none.')
  const { text, blocks } = renderReply(reply)
  const why = reply.messages.problem.cannot_reply
  const { ts } = await client.chat.postMessage({
    channel,
    text: `${escapeMrkdwn(why)}\n${text}`,
    blocks: [section(why), ...blocks],
  })
  return [{ channel, ts: ts! }]
}

/** Slack takes five of these within 30 minutes (docs.slack.dev, "Handling user interaction"). */
async function respond(
  { url, thread_ts }: Extract<ReplyTarget, { kind: 'response' }>,
  reply: ChatReply,
): Promise<Posted[]> {
  const options = { response_type: 'ephemeral', replace_original: false, thread_ts }
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...options, ...renderReply(reply) }),
    signal: AbortSignal.timeout(RESPOND_TIMEOUT_MS),
  }).catch((cause: unknown) => {
    throw new UpstreamError('slack_failed', 'Expected Slack to take a reply but the connection failed.', {
      cause,
    })
  })
  await discard(response)
  if (response.ok) return []
  const message = `Expected Slack to take a reply but it answered ${response.status}.`
  if (response.status < 500 && response.status !== 429) throw new RequestError('cannot_reply', message)
  const retryAfterMs = Number(response.headers.get('retry-after')) * 1000 || undefined
  throw new UpstreamError('slack_failed', message, { retryAfterMs })
}

/** Undefined when there is none, or when this app may not look. @throws UpstreamError */
export async function findReply(client: Client, question: Question): Promise<Posted[] | undefined> {
  const target = replyTargetOf(question)
  if (target.kind !== 'message') return undefined
  const { channel, thread_ts } = target
  const since = { channel, oldest: question.source, include_all_metadata: true, limit: 100 }
  try {
    const { messages } = thread_ts
      ? await client.conversations.replies({ ...since, ts: thread_ts })
      : await client.conversations.history(since)
    const ours = (messages ?? []).find(({ metadata }) => {
      const payload = metadata?.event_payload as { question?: unknown } | undefined
      return metadata?.event_type === METADATA && payload?.question === markOf(question)
    })
    return ours?.ts ? [postedAs(target, ours.ts)] : undefined
  } catch (error) {
    const failure = toGlimpseError(error)
    if (failure instanceof UpstreamError) throw failure
    return undefined
  }
}

/** @throws UpstreamError */
export async function removeReply(client: Client, { channel, ts }: Posted): Promise<void> {
  if (!channel || !ts) return
  await client.chat.delete({ channel, ts }).catch((error: unknown) => {
    if (slackErrorCode(error) !== 'message_not_found') throw toGlimpseError(error)
  })
}

/** Who answers below the reply itself goes on about the same picture. */
function postedAs({ team, channel }: MessageTarget, ts: string): Posted {
  return { channel, ts, conversation: conversationKey({ team, channel }, ts) }
}

/** Tells which question a reply is to, and nothing else about it. */
function markOf({ id }: Question): string {
  return sha256Hex(id).slice(0, 32)
}
