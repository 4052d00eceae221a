// The initial response to an interaction, due within 3 s. Over HTTP it is the response's body; with the gateway it is
// sent by a call. A reply to a question replaces it later.

import { InteractionResponseType, MessageFlags } from 'discord.js'
import type { ChatReply } from '../chat/compose.ts'
import type { Preferences } from '../chat/preferences.ts'
import { problemText } from '../chat/problems.ts'
import type { Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import type { Incoming } from './interactions.ts'
import { bodyOf } from './render.ts'

export type InitialResponse = Record<string, unknown>

export interface InteractionDeps {
  preferences: Preferences
  /** Whether the bot has the Message Content intent. */
  messageContent: boolean
  report: (error: unknown) => void
}

/** Saves a setting and confirms it. A failure is reported, and its user sees the problem. */
export async function initialResponse(
  incoming: Incoming,
  { preferences, messageContent, report }: InteractionDeps,
): Promise<InitialResponse> {
  if (incoming.kind === 'ping') return { type: InteractionResponseType.Pong }
  if (incoming.kind === 'question') {
    // This flag decides for good whether the reply is public.
    const flags = incoming.isEphemeral ? MessageFlags.Ephemeral : 0
    return { type: InteractionResponseType.DeferredChannelMessageWithSource, data: { flags } }
  }
  const { messages } = incoming
  const { done, problem } = messages
  try {
    switch (incoming.kind) {
      case 'automatic':
        // Without the intent the bot receives no pictures that do not mention it.
        if (incoming.on && !messageContent) return ephemeral(problem.needs_intent)
        await preferences.setAutomatic(incoming.channel, incoming.on)
        return messageResponse(incoming.on ? done.automaticOn : done.automaticOff)
      case 'opt_out':
        await preferences.setOptedOut(incoming.person, incoming.out)
        return ephemeral(incoming.out ? done.optedOut : done.optedIn)
      case 'unknown':
        return ephemeral(problem.internal)
    }
  } catch (error) {
    report(error)
    return ephemeralProblem(error, messages)
  }
}

export function ephemeralProblem(error: unknown, messages: Messages): InitialResponse {
  return ephemeral(problemText(error, messages))
}

/** The reply to a question that could not be recorded. */
export function problemReply(error: unknown, { asker }: Question): ChatReply {
  const messages = messagesFor(asker.locale)
  const text = problemText(error, messages)
  return { parts: [{ text, kind: 'problem', spoiler: false }], notes: [], ephemeral: true, messages }
}

function ephemeral(text: string): InitialResponse {
  return messageResponse(text, MessageFlags.Ephemeral)
}

function messageResponse(text: string, flags = 0): InitialResponse {
  return { type: InteractionResponseType.ChannelMessageWithSource, data: bodyOf(text, flags) }
}
