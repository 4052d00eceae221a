// An interaction (a slash command, an entry of a message's menu) -> a question or a setting. Pure, and the same for the
// gateway and HTTP.

import { ApplicationCommandType, InteractionType, MessageFlags } from 'discord.js'
import { type NearestPictures, personOf, type Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import { isModerator, readButton, readModal } from './buttons.ts'
import { ASK, CAPTION, DESCRIBE, OPTIONS, PRIVACY, SETTINGS } from './commands.ts'
import { interactionSchema, parsePayload, type ShownMessage } from './payloads.ts'
import { emojiIn, pictureOf, picturesOf } from './pictures.ts'
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
  /** `again`: it repeats the last question of this conversation, or asks for another caption. */
  | { kind: 'question'; question: Question; isEphemeral: boolean; again?: { conversation?: string } }
  /** A window for a question about the picture of this reply. */
  | { kind: 'modal'; reply: string; messages: Messages }
  /** The reply with the button is to be deleted. */
  | { kind: 'delete'; application: string; token: string; messages: Messages }
  /** Somebody else asked. */
  | { kind: 'not_yours'; messages: Messages }
  /** `messages`: in the language of the response's readers. */
  | { kind: 'automatic'; channel: string; on: boolean; messages: Messages }
  | { kind: 'opt_out'; person: string; out: boolean; messages: Messages }
  /** For example a command that a later version removed. */
  | { kind: 'unknown'; messages: Messages }

/** The fields of a question that depend on the command. */
type Asked = Pick<Question, 'trigger' | 'text' | 'pictures' | 'owner' | 'conversations' | 'lastAsked'>

/** A message without a picture may have custom emoji. */
function shownBy(message: ShownMessage, channel: string): NearestPictures {
  const shown = picturesOf(message, channel)
  return shown.pictures.length > 0 ? shown : { pictures: emojiIn(message.content), owner: message.author?.id }
}

/** @throws UpstreamError `discord_payload` */
export function readInteraction(payload: unknown, now: number): Incoming {
  const interaction = parsePayload(interactionSchema, payload, 'an interaction')
  const { id, type, data, token, locale, guild_locale, channel_id: channel } = interaction
  if (type === InteractionType.Ping) return { kind: 'ping' }
  const user = (interaction.member?.user ?? interaction.user)?.id
  const messages = messagesFor(locale)
  const unknown: Incoming = { kind: 'unknown', messages }
  if (!data || !user || !channel) return unknown

  const option = (name: string) => data.options.find((each) => each.name === name)?.value
  const question = (asked: Asked, isEphemeral: boolean): Incoming => {
    const { application_id: application } = interaction
    const route: InteractionTarget = { kind: 'interaction', application, token, isEphemeral }
    const asker = { id: user, locale }
    const keys = { id: interactionKey(id), platform: 'discord', channel: channelKey(channel) }
    return { kind: 'question', question: { ...asked, ...keys, asker, askedAt: now, route }, isEphemeral }
  }
  if (type === InteractionType.MessageComponent || type === InteractionType.ModalSubmit) {
    const isEphemeral = ((interaction.message?.flags ?? 0) & MessageFlags.Ephemeral) !== 0
    const about = (reply: string, text: string) => {
      const conversations = [messageKey(reply), lastAskedKey(channel, user)]
      return question({ trigger: 'command', text, pictures: [], conversations }, isEphemeral)
    }
    const submitted = readModal(data.custom_id, data.components)
    if (submitted) return about(submitted.reply, submitted.text)
    const pressed = readButton(data.custom_id)
    const reply = interaction.message?.id
    if (!pressed || reply === undefined) return unknown
    if (pressed.asker !== user && !isModerator(interaction.member?.permissions)) {
      return { kind: 'not_yours', messages }
    }
    switch (pressed.action) {
      case 'ask':
        return { kind: 'modal', reply, messages }
      case 'again':
        return {
          ...about(reply, ''),
          again: { conversation: pressed.isCaption ? undefined : messageKey(reply) },
        } as Incoming
      case 'delete':
        return { kind: 'delete', application: interaction.application_id, token, messages }
    }
  }
  if (type !== InteractionType.ApplicationCommand) return unknown
  if (data.type === ApplicationCommandType.Message) {
    if (data.name !== DESCRIBE || !data.target_id) return unknown
    const target = data.resolved?.messages?.[data.target_id]
    const { pictures, owner } = target ? shownBy(target, channel) : { pictures: [] }
    const conversations = [messageKey(data.target_id)]
    // Without a picture, the reply must not be about this person's last question.
    if (pictures.length > 0) conversations.push(lastAskedKey(channel, user))
    return question({ trigger: 'shortcut', text: '', pictures, owner, conversations }, true)
  }
  switch (data.name) {
    case CAPTION:
    case ASK: {
      const file = data.resolved?.attachments?.[String(option(OPTIONS.image))]
      const text = String(option(OPTIONS.question) ?? '').trim()
      const place = placeOf(interaction.channel?.type)
      // The picture of the thread or the direct messages, else of this person's last question in the channel.
      const conversations = [lastAskedKey(channel, user)]
      if (place === 'thread') conversations.unshift(messageKey(channel))
      if (place === 'direct') conversations.unshift(directKey(channel))
      const own = { pictures: file ? [pictureOf(file)] : [], owner: file && user }
      const lastAsked = place === 'direct' ? directKey(channel) : lastAskedKey(channel, user)
      return question({ trigger: 'command', text, ...own, conversations, lastAsked }, false)
    }
    case SETTINGS: {
      const on = option(OPTIONS.automatic) === true
      // The channel reads the response, in the language of its server.
      const ofServer = messagesFor(guild_locale ?? locale)
      return { kind: 'automatic', channel: channelKey(channel), on, messages: ofServer }
    }
    case PRIVACY:
      return {
        kind: 'opt_out',
        person: personOf('discord', user),
        out: option(OPTIONS.optOut) === true,
        messages,
      }
    default:
      return unknown
  }
}
