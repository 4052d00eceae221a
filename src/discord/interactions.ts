// An interaction (a slash command, an entry of a message's menu) -> a question or a setting. Pure, and the same for the
// gateway and HTTP.

import { ApplicationCommandType, InteractionType } from 'discord.js'
import { z } from 'zod'
import { personOf, type Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import { ASK, CAPTION, DESCRIBE, OPTIONS, PRIVACY, SETTINGS } from './commands.ts'
import { type Interaction, interactionSchema, parsePayload } from './payloads.ts'
import { pictureOf, picturesOf } from './pictures.ts'
import {
  channelKey,
  directKey,
  type InteractionTarget,
  interactionKey,
  lastAskedKey,
  messageKey,
  placeOf,
} from './target.ts'

export type Incoming =
  | { kind: 'ping' }
  | { kind: 'question'; question: Question; isEphemeral: boolean }
  /** `messages`: in the language of the response's readers. */
  | { kind: 'automatic'; channel: string; on: boolean; messages: Messages }
  | { kind: 'opt_out'; person: string; out: boolean; messages: Messages }
  /** For example a command that a later version removed. */
  | { kind: 'unknown'; messages: Messages }

/** @throws UpstreamError `discord_payload` */
export function readInteraction(payload: unknown, now: number): Incoming {
  const { type } = parsePayload(z.object({ type: z.number() }), payload, 'an interaction')
  if (type === InteractionType.Ping) return { kind: 'ping' }
  const interaction = parsePayload(interactionSchema, payload, 'an interaction')
  const { data, channel_id: channel, locale, guild_locale } = interaction
  const user = (interaction.member?.user ?? interaction.user)?.id
  const messages = messagesFor(locale)
  if (type !== InteractionType.ApplicationCommand || !data || user === undefined || channel === undefined) {
    return { kind: 'unknown', messages }
  }
  const sender: Sender = { interaction, data, user, channel, now }
  const option = (name: string) => data.options.find((each) => each.name === name)?.value
  if (data.type === ApplicationCommandType.Message) {
    return data.name === DESCRIBE ? menuQuestion(sender) : { kind: 'unknown', messages }
  }
  switch (data.name) {
    case CAPTION:
    case ASK:
      return commandQuestion(sender, option(OPTIONS.image), option(OPTIONS.question))
    case SETTINGS: {
      const on = option(OPTIONS.automatic) === true
      // The channel reads the response, in the language of its server.
      return {
        kind: 'automatic',
        channel: channelKey(channel),
        on,
        messages: messagesFor(guild_locale ?? locale),
      }
    }
    case PRIVACY: {
      const out = option(OPTIONS.optOut) === true
      return { kind: 'opt_out', person: personOf('discord', user), out, messages }
    }
    default:
      return { kind: 'unknown', messages }
  }
}

interface Sender {
  interaction: Interaction
  data: NonNullable<Interaction['data']>
  user: string
  channel: string
  now: number
}

function commandQuestion(sender: Sender, image: unknown, text: unknown): Incoming {
  const { interaction, data, user, channel } = sender
  const file = typeof image === 'string' ? data.resolved?.attachments?.[image] : undefined
  const place = placeOf(interaction.channel?.type)
  // The picture of the thread or the direct messages, else of this person's last question in the channel.
  const conversations = [lastAskedKey(channel, user)]
  if (place === 'thread') conversations.unshift(messageKey(channel))
  if (place === 'direct') conversations.unshift(directKey(channel))
  return questionOf(sender, false, {
    trigger: 'command',
    text: typeof text === 'string' ? text.trim() : '',
    pictures: file ? [pictureOf(file)] : [],
    owner: file && user,
    conversations,
  })
}

function menuQuestion(sender: Sender): Incoming {
  const { interaction, data, user, channel } = sender
  const target = data.resolved?.messages?.[data.target_id ?? '']
  const { pictures, owner } = target ? picturesOf(target, channel) : { pictures: [] }
  const conversations = [messageKey(target?.id ?? data.target_id ?? interaction.id)]
  // Without a picture, the reply must not be about this person's last question.
  if (pictures.length > 0) conversations.push(lastAskedKey(channel, user))
  return questionOf(sender, true, { trigger: 'shortcut', text: '', pictures, owner, conversations })
}

function questionOf(
  { interaction, user, channel, now }: Sender,
  isEphemeral: boolean,
  asked: Pick<Question, 'trigger' | 'text' | 'pictures' | 'owner' | 'conversations'>,
): Incoming {
  const { id, application_id: application, token, locale } = interaction
  const question: Question = {
    ...asked,
    id: interactionKey(id),
    platform: 'discord',
    asker: { id: user, locale },
    channel: channelKey(channel),
    askedAt: now,
    route: { kind: 'interaction', application, token, isEphemeral } satisfies InteractionTarget,
  }
  return { kind: 'question', question, isEphemeral }
}
