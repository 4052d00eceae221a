// Gateway events -> questions and retractions for the sink, and responses to interactions. Independent of the connection:
// recorded events can be replayed.

import {
  GatewayDispatchEvents,
  InteractionResponseType,
  RESTJSONErrorCodes,
  Routes,
  SnowflakeUtil,
} from 'discord.js'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import type { EventDeps } from '../chat/adapter.ts'
import { askAgain } from '../chat/again.ts'
import { problemReply } from '../chat/problems.ts'
import type { QuestionSink } from '../chat/processor.ts'
import { fileKey, type Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import { type DiscordApi, isDiscordError, unlessRefused } from './api.ts'
import { type InteractionDeps, initialResponse } from './initial-response.ts'
import { readInteraction } from './interactions.ts'
import {
  type Earlier,
  earlierOf,
  filesIn,
  isHidden,
  type MessageContext,
  mayGetPictures,
  missingReference,
  questionOfEdit,
  questionOfMessage,
  questionOfUnknownEdit,
} from './message.ts'
import { type Message, parseMessage } from './payloads.ts'
import type { DiscordPlatform } from './platform.ts'
import { editedKey, messageKey } from './target.ts'

export interface EventsOptions extends InteractionDeps {
  api: DiscordApi
  platform: DiscordPlatform
  sink: QuestionSink
  lastQuestion?: EventDeps['lastQuestion']
  now: () => number
  /** The context of a message in this channel and server. */
  contextOf: (channel: string, guild: string | undefined) => MessageContext
}

/** Discord shows "did not respond" after 3 s. */
const ACKNOWLEDGE_MS = 2_800
/** An edit asks anew at most this long after its message. */
const EDIT_MS = 15 * 60_000
/** Messages whose edits can be compared with what they were. */
const MAX_EARLIER = 20_000
/** Time in which Discord reads the page that a link points to, and edits its picture into the message. */
export const PREVIEW_DELAY_MS = 1_500

/** Unlike a message, a deletion is nothing without its fields: another shape is an error. */
const deletedSchema = z.object({ id: z.string().nullish(), ids: z.array(z.string()).nullish() })
const addressSchema = z.object({ id: z.string(), token: z.string() })

/** Returns a handler of one event by its name and payload. Events of other names do nothing. */
export function discordEvents(options: EventsOptions): (type: string, data: unknown) => Promise<void> {
  const { api, platform, sink, report, now } = options
  const earlier = new LRUCache<string, Earlier & { at: number }>({ max: MAX_EARLIER })

  const submit = async (question: Question, delayMs = 0): Promise<void> => {
    try {
      await sink.submit(question, delayMs)
    } catch (error) {
      report(error)
      if (question.trigger === 'automatic' || question.trigger === 'follow_up') return
      await platform.post(question, problemReply(error, messagesFor(question.asker.locale)))
    }
  }

  const onMessage = async (data: unknown): Promise<void> => {
    const message = parseMessage(data)
    const context = options.contextOf(message.channel_id, message.guild_id)
    earlier.set(message.id, { ...earlierOf(message, context), at: now() })
    const question = questionOfMessage(await withReference(api, message, context), context)
    if (question) await submit(question, mayGetPictures(message, question) ? PREVIEW_DELAY_MS : 0)
  }

  const onEdit = async (data: unknown): Promise<void> => {
    const message = parseMessage(data)
    const context = options.contextOf(message.channel_id, message.guild_id)
    const before = earlier.get(message.id)
    // Without the intent, an edit that removes the mention comes without the contents.
    if (!message.author || isHidden(message, context)) return
    const after = earlierOf(message, context)
    earlier.set(message.id, { ...after, at: before?.at ?? postedAt(message) })
    if (!before) return await onUnknownEdit(message, context)
    for (const file of before.files.filter((id) => !after.files.includes(id)))
      await sink.retract(fileKey('discord', file))
    if (now() - before.at > EDIT_MS) return
    const question = questionOfEdit(await withReference(api, message, context), context, before)
    if (question) await submit(question)
  }

  /** Of a message that this process has not seen: the store tells what is kept about it, and whether it asked before. */
  const onUnknownEdit = async (message: Message, context: MessageContext): Promise<void> => {
    await sink.retract(messageKey(message.id), filesIn(message))
    // A message that is pinned, for example, counts as edited, too: of old ones it may be forgotten that they asked.
    if (now() - postedAt(message) > EDIT_MS && !isSoonEdited(message)) return
    const question = questionOfUnknownEdit(await withReference(api, message, context), context)
    if (question) await submit(question)
  }

  const onDelete = async (data: unknown): Promise<void> => {
    const { id, ids } = deletedSchema.parse(data)
    const keys = (id ? [id] : (ids ?? [])).flatMap((each) => [messageKey(each), editedKey(each)])
    const failures: unknown[] = []
    // Discord sends the event once: a failure must not keep the other messages from being retracted.
    for (const key of keys) await sink.retract(key).catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }

  const onInteraction = async (data: unknown): Promise<void> => {
    const incoming = readInteraction(data, now())
    if (incoming.kind === 'delete') {
      const { application, token } = incoming
      await acknowledge(api, data, { type: InteractionResponseType.DeferredMessageUpdate })
      const call = api('DELETE', Routes.webhookMessage(application, token))
      return void (await unlessRefused(call, undefined, RESTJSONErrorCodes.UnknownMessage))
    }
    const acknowledged = acknowledge(api, data, await initialResponse(incoming, options))
    if (incoming.kind !== 'question') return await acknowledged
    const { question, again } = incoming
    platform.waitFor(question.id, acknowledged)
    await submit(
      again === undefined ? question : await askAgain(question, again.conversation, options.lastQuestion),
    )
    await acknowledged.catch(async (error: unknown) => {
      // Discord accepts no reply to this interaction.
      if (isDiscordError(error)) await sink.retract(question.id)
      throw error
    })
  }

  const handlers: Record<string, (data: unknown) => Promise<void>> = {
    [GatewayDispatchEvents.MessageCreate]: onMessage,
    [GatewayDispatchEvents.MessageUpdate]: onEdit,
    [GatewayDispatchEvents.MessageDelete]: onDelete,
    [GatewayDispatchEvents.MessageDeleteBulk]: onDelete,
    [GatewayDispatchEvents.InteractionCreate]: onInteraction,
  }
  return async (type, data) => await handlers[type]?.(data)
}

/** The message with the one it replies to, fetched where Discord left it out; null where the bot may not read it. */
async function withReference(api: DiscordApi, message: Message, context: MessageContext): Promise<Message> {
  const missing = missingReference(message, context)
  if (!missing) return message
  const fetched = api('GET', Routes.channelMessage(missing.channel, missing.message))
  return { ...message, referenced_message: await fetched.then(parseMessage).catch(() => null) }
}

/** Milliseconds since 1970, which a message's id begins with (topic "Snowflakes"). */
function postedAt({ id }: Message): number {
  return /^\d+$/.test(id) ? SnowflakeUtil.timestampFrom(id) : 0
}

function isSoonEdited({ timestamp = '', edited_timestamp = '' }: Message): boolean {
  return Date.parse(edited_timestamp) - Date.parse(timestamp) <= EDIT_MS
}

async function acknowledge(api: DiscordApi, interaction: unknown, body: object): Promise<void> {
  const { id, token } = addressSchema.parse(interaction)
  const call = api('POST', Routes.interactionCallback(id, token), { body, timeoutMs: ACKNOWLEDGE_MS })
  // The event was delivered twice, or Discord's response to the first try was lost.
  await unlessRefused(call, undefined, RESTJSONErrorCodes.InteractionHasAlreadyBeenAcknowledged)
}
