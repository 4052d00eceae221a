// An interaction (a command, a choice in a message's menu) -> what it asks of us. Pure, and the same whether it came over
// the gateway or over HTTP.
//
// A question is answered at once with a promise ("is thinking...") that is kept later; a choice is made and confirmed.

import { z } from 'zod'
import { personOf, type Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import { ASK, CAPTION, CHAT_INPUT, DESCRIBE, MESSAGE, OPTIONS, PRIVACY, SETTINGS } from './commands.ts'
import { type Interaction, interactionSchema, parsePayload, type ShownMessage } from './payloads.ts'
import { type NearestPictures, nearestIn, pictureOf } from './pictures.ts'
import {
  channelKey,
  directKey,
  type InteractionTarget,
  interactionKey,
  isDirectType,
  isThreadType,
  lastAskedKey,
  messageKey,
} from './target.ts'

export type Incoming =
  | { kind: 'ping' }
  | { kind: 'question'; question: Question; isEphemeral: boolean }
  /** `messages`: those of whoever reads it. */
  | { kind: 'automatic'; channel: string; on: boolean; messages: Messages }
  | { kind: 'opt_out'; person: string; out: boolean; messages: Messages }
  /** A command that we have no more, say. */
  | { kind: 'unknown'; messages: Messages }

/** "Interaction type". */
const PING = 1
const APPLICATION_COMMAND = 2

/** @throws UpstreamError `discord_payload` for what is no interaction at all */
export function readInteraction(payload: unknown, now: number): Incoming {
  const { type } = parsePayload(z.object({ type: z.number() }), payload, 'an interaction')
  if (type === PING) return { kind: 'ping' }
  const interaction = parsePayload(interactionSchema, payload, 'an interaction')
  const { data, channel_id: channel } = interaction
  const user = (interaction.member?.user ?? interaction.user)?.id
  const messages = messagesFor(interaction.locale)
  if (type !== APPLICATION_COMMAND || !data || user === undefined || channel === undefined) {
    return { kind: 'unknown', messages }
  }
  const sender: Sender = { interaction, user, channel, now }
  const option = (name: string) => data.options.find((each) => each.name === name)?.value
  switch (`${data.type ?? CHAT_INPUT} ${data.name}`) {
    case `${CHAT_INPUT} ${CAPTION}`:
    case `${CHAT_INPUT} ${ASK}`:
      return ofCommand(sender, option(OPTIONS.image), option(OPTIONS.question))
    case `${MESSAGE} ${DESCRIBE}`:
      return ofMessage(sender, data.resolved?.messages?.[data.target_id ?? ''])
    case `${CHAT_INPUT} ${SETTINGS}`: {
      const on = option(OPTIONS.automatic) === true
      // The channel reads it, in the language of its server.
      const theirs = messagesFor(interaction.guild_locale ?? interaction.locale)
      return { kind: 'automatic', channel: channelKey(channel), on, messages: theirs }
    }
    case `${CHAT_INPUT} ${PRIVACY}`: {
      const out = option(OPTIONS.optOut) === true
      return { kind: 'opt_out', person: personOf('discord', user), out, messages }
    }
    default:
      return { kind: 'unknown', messages }
  }
}

/** The question of an interaction, if it is one. */
export function questionOfInteraction(payload: unknown, now: number): Question | undefined {
  const incoming = readInteraction(payload, now)
  return incoming.kind === 'question' ? incoming.question : undefined
}

interface Sender {
  interaction: Interaction
  user: string
  channel: string
  now: number
}

function ofCommand(sender: Sender, image: unknown, text: unknown): Incoming {
  const { interaction, user, channel } = sender
  const file = typeof image === 'string' ? interaction.data?.resolved?.attachments?.[image] : undefined
  const type = interaction.channel?.type
  // In a thread or in direct messages its picture; in a channel, where many talk, what this person asked about.
  const names = [lastAskedKey(channel, user)]
  if (isThreadType(type)) names.unshift(messageKey(channel))
  if (isDirectType(type)) names.unshift(directKey(channel))
  const question = questionOf(sender, {
    trigger: 'command',
    text: typeof text === 'string' ? text.trim() : '',
    pictures: file ? [pictureOf(file)] : [],
    owner: file && user,
    conversations: names,
    isEphemeral: false,
  })
  return { kind: 'question', question, isEphemeral: false }
}

function ofMessage(sender: Sender, target: ShownMessage | undefined): Incoming {
  const { interaction, user, channel } = sender
  const { pictures, owner }: NearestPictures = target ? nearestIn(target, channel) : { pictures: [] }
  const names = [messageKey(target?.id ?? interaction.data?.target_id ?? interaction.id)]
  // A message without one is told so, whatever was asked about before.
  if (pictures.length > 0) names.push(lastAskedKey(channel, user))
  const question = questionOf(sender, {
    trigger: 'shortcut',
    text: '',
    pictures,
    owner,
    conversations: names,
    isEphemeral: true,
  })
  return { kind: 'question', question, isEphemeral: true }
}

type Own = Pick<Question, 'trigger' | 'text' | 'pictures' | 'owner' | 'conversations'> & {
  isEphemeral: boolean
}

function questionOf({ interaction, user, channel, now }: Sender, { isEphemeral, ...own }: Own): Question {
  return {
    id: interactionKey(interaction.id),
    platform: 'discord',
    asker: { id: user, locale: interaction.locale },
    channel: channelKey(channel),
    askedAt: now,
    route: {
      kind: 'interaction',
      application: interaction.application_id,
      token: interaction.token,
      isEphemeral,
    } satisfies InteractionTarget,
    ...own,
  }
}
