// Events of the gateway, as they come -> questions at the desk, replies taken back, interactions answered at once. Knows
// no connection: recorded events can be replayed at it.

import { Routes } from 'discord.js'
import { z } from 'zod'
import type { QuestionSink } from '../chat/processor.ts'
import type { Question } from '../chat/question.ts'
import { type Call, CODES, type DiscordApi, isDiscordError } from './api.ts'
import {
  type InitialResponse,
  type InteractionDeps,
  initialResponse,
  problemReply,
} from './initial-response.ts'
import { readInteraction } from './interactions.ts'
import { type MessageContext, missingReference, questionOfEdit, questionOfMessage } from './message.ts'
import { recentPictureless } from './pictureless.ts'
import type { DiscordPlatform } from './platform.ts'
import { editedKey, messageKey } from './target.ts'

export interface EventsOptions extends InteractionDeps {
  api: DiscordApi
  platform: DiscordPlatform
  sink: QuestionSink
  now: () => number
  /** What is known of a channel and its server besides. */
  contextOf: (channel: string | undefined, guild: string | undefined) => MessageContext
}

/** Deals with one event: its name, and what it holds. Those that are none of ours do nothing. */
export type EventHandler = (type: string, data: unknown) => Promise<void>

/** Discord shows "did not respond" after 3 s. */
const ACKNOWLEDGE_MS = 2_800

const maybe = z
  .string()
  .nullish()
  .transform((value) => value ?? undefined)
const placeSchema = z.object({
  id: z.string(),
  channel_id: maybe,
  guild_id: maybe,
  attachments: z.array(z.unknown()).nullish(),
})
const deletedSchema = z.object({ id: z.string().optional(), ids: z.array(z.string()).optional() })
const addressSchema = z.object({ id: z.string(), token: z.string() })

export function discordEvents(options: EventsOptions): EventHandler {
  const { api, platform, sink, report, now } = options
  const pictureless = recentPictureless(now)

  const submit = async (question: Question): Promise<void> => {
    try {
      await sink.submit(question)
    } catch (error) {
      report(error)
      if (question.trigger === 'automatic' || question.trigger === 'follow_up') return
      await platform.post(question, problemReply(error, question))
    }
  }

  const onMessage = async (data: unknown): Promise<void> => {
    const { id, channel_id, guild_id, attachments } = placeSchema.parse(data)
    if (!attachments?.length) pictureless.add(id)
    const context = options.contextOf(channel_id, guild_id)
    const question = questionOfMessage(await withReference(api, data, context), context)
    if (question) await submit(question)
  }

  const onEdit = async (data: unknown): Promise<void> => {
    const { id, channel_id, guild_id, attachments } = placeSchema.parse(data)
    if (!attachments?.length || !pictureless.delete(id)) return
    const question = questionOfEdit(data, options.contextOf(channel_id, guild_id))
    if (question) await submit(question)
  }

  const onDelete = async (data: unknown): Promise<void> => {
    const { id, ids = [] } = deletedSchema.parse(data)
    const names = (id === undefined ? ids : [id]).flatMap((each) => [messageKey(each), editedKey(each)])
    const failures: unknown[] = []
    // Discord does not send it again: one that fails must not keep the others.
    for (const name of names) await sink.retract(name).catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }

  const onInteraction = async (data: unknown): Promise<void> => {
    const incoming = readInteraction(data, now())
    const answer = await initialResponse(incoming, options)
    const acknowledged = acknowledge(api, addressSchema.parse(data), answer)
    if (incoming.kind !== 'question') return await acknowledged
    const { question } = incoming
    platform.waitFor(question.id, acknowledged)
    await submit(question)
    await acknowledged.catch(async (error: unknown) => {
      // Nothing can be said to it any more.
      if (isDiscordError(error)) await sink.retract(question.id)
      throw error
    })
  }

  return async (type, data) => {
    switch (type) {
      case 'MESSAGE_CREATE':
        return await onMessage(data)
      case 'MESSAGE_UPDATE':
        return await onEdit(data)
      case 'MESSAGE_DELETE':
      case 'MESSAGE_DELETE_BULK':
        return await onDelete(data)
      case 'INTERACTION_CREATE':
        return await onInteraction(data)
    }
  }
}

/** The message with what it replies to, fetched where Discord left it out. */
async function withReference(api: DiscordApi, message: unknown, context: MessageContext): Promise<unknown> {
  const missing = missingReference(message, context)
  if (!missing) return message
  const route = Routes.channelMessage(missing.channel, missing.message)
  // Without it the question is about what is known of the thread.
  const referenced_message = await api.call('GET', route).catch(() => null)
  return { ...(message as object), referenced_message }
}

async function acknowledge(
  api: DiscordApi,
  { id, token }: z.infer<typeof addressSchema>,
  body: InitialResponse,
): Promise<void> {
  const call: Call = { body, useBotToken: false, timeoutMs: ACKNOWLEDGE_MS }
  await api.call('POST', Routes.interactionCallback(id, token), call).catch((error: unknown) => {
    // The same interaction came twice, or an answer of Discord's was lost.
    if (!isDiscordError(error, CODES.alreadyAcknowledged)) throw error
  })
}
