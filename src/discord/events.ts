// Gateway events -> questions and retractions for the sink, and responses to interactions. Independent of the connection:
// recorded events can be replayed.

import { GatewayDispatchEvents, RESTJSONErrorCodes, Routes } from 'discord.js'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { list, maybe } from '../chat/payload.ts'
import { problemReply } from '../chat/problems.ts'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import { type DiscordApi, isDiscordError, unlessRefused } from './api.ts'
import { type InteractionDeps, initialResponse } from './initial-response.ts'
import { readInteraction } from './interactions.ts'
import { type MessageContext, missingReference, questionOfEdit, questionOfMessage } from './message.ts'
import { type Message, parseMessage } from './payloads.ts'
import type { DiscordPlatform } from './platform.ts'
import { editedKey, messageKey } from './target.ts'

export interface EventsOptions extends InteractionDeps {
  api: DiscordApi
  platform: DiscordPlatform
  sink: QuestionSink
  now: () => number
  /** The context of a message in this channel and server. */
  contextOf: (channel: string, guild: string | undefined) => MessageContext
}

/** Discord shows "did not respond" after 3 s. */
const ACKNOWLEDGE_MS = 2_800
/** An edit adds a picture to a message only if it was posted without one, at most this long ago. */
const PICTURELESS_MS = 15 * 60_000
const MAX_PICTURELESS = 10_000

const deletedSchema = z.object({ id: maybe(z.string()), ids: list(z.string()) })
const addressSchema = z.object({ id: z.string(), token: z.string() })

/** Returns a handler of one event by its name and payload. Events of other names do nothing. */
export function discordEvents(options: EventsOptions): (type: string, data: unknown) => Promise<void> {
  const { api, platform, sink, report, now } = options
  /** Ids of messages that were posted without a picture. */
  const pictureless = new LRUCache<string, true>({ max: MAX_PICTURELESS, ttl: PICTURELESS_MS, perf: { now } })

  const submit = async (question: Question): Promise<void> => {
    try {
      await sink.submit(question)
    } catch (error) {
      report(error)
      if (question.trigger === 'automatic' || question.trigger === 'follow_up') return
      await platform.post(question, problemReply(error, messagesFor(question.asker.locale)))
    }
  }

  const onMessage = async (data: unknown): Promise<void> => {
    const message = parseMessage(data)
    if (message.attachments.length === 0) pictureless.set(message.id, true)
    const context = options.contextOf(message.channel_id, message.guild_id)
    const question = questionOfMessage(await withReference(api, message, context), context)
    if (question) await submit(question)
  }

  const onEdit = async (data: unknown): Promise<void> => {
    const message = parseMessage(data)
    if (message.attachments.length === 0 || !pictureless.has(message.id)) return
    pictureless.delete(message.id)
    const question = questionOfEdit(message, options.contextOf(message.channel_id, message.guild_id))
    if (question) await submit(question)
  }

  const onDelete = async (data: unknown): Promise<void> => {
    const { id, ids } = deletedSchema.parse(data)
    const keys = (id === undefined ? ids : [id]).flatMap((each) => [messageKey(each), editedKey(each)])
    const failures: unknown[] = []
    // Discord sends the event once: a failure must not keep the other messages from being retracted.
    for (const key of keys) await sink.retract(key).catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }

  const onInteraction = async (data: unknown): Promise<void> => {
    const incoming = readInteraction(data, now())
    const acknowledged = acknowledge(api, data, await initialResponse(incoming, options))
    if (incoming.kind !== 'question') return await acknowledged
    const { question } = incoming
    platform.waitFor(question.id, acknowledged)
    await submit(question)
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

async function acknowledge(api: DiscordApi, interaction: unknown, body: object): Promise<void> {
  const { id, token } = addressSchema.parse(interaction)
  const call = api('POST', Routes.interactionCallback(id, token), { body, timeoutMs: ACKNOWLEDGE_MS })
  // The event was delivered twice, or Discord's response to the first try was lost.
  await unlessRefused(call, undefined, RESTJSONErrorCodes.InteractionHasAlreadyBeenAcknowledged)
}
