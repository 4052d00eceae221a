// The initial response to an interaction, due within 3 s. Over HTTP it is the response's body; with the gateway it is
// sent by a call. A reply to a question replaces it later.

import { InteractionResponseType, MessageFlags } from 'discord.js'
import type { Preferences } from '../chat/preferences.ts'
import { problemText } from '../chat/problems.ts'
import { questionModal } from './buttons.ts'
import type { Incoming } from './interactions.ts'
import { bodyOf } from './render.ts'

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
): Promise<object> {
  if (incoming.kind === 'ping') return { type: InteractionResponseType.Pong }
  if (incoming.kind === 'question') {
    // This flag decides for good whether the reply is public.
    const flags = incoming.isEphemeral ? MessageFlags.Ephemeral : 0
    return { type: InteractionResponseType.DeferredChannelMessageWithSource, data: { flags } }
  }
  const { done, problem } = incoming.messages
  try {
    switch (incoming.kind) {
      case 'automatic':
        // Without the intent the bot receives no pictures that do not mention it.
        if (incoming.on && !messageContent) return messageResponse(problem.needs_intent)
        await preferences.setAutomatic(incoming.channel, incoming.on)
        return messageResponse(incoming.on ? done.automaticOn : done.automaticOff, 0)
      case 'opt_out':
        await preferences.setOptedOut(incoming.person, incoming.out)
        return messageResponse(incoming.out ? done.optedOut : done.optedIn)
      case 'modal':
        return questionModal(incoming.messages, incoming.reply)
      case 'delete':
        return deletedResponse(done.deleted)
      case 'not_yours':
        return messageResponse(problem.not_yours)
      case 'unknown':
        return messageResponse(problem.internal)
    }
  } catch (error) {
    report(error)
    return messageResponse(problemText(error, incoming.messages))
  }
}

/** In place of the reply with the button. Without the bot's token a reply cannot be deleted, but its words can. */
function deletedResponse(text: string): object {
  const data = { ...bodyOf(text), components: [] }
  return { type: InteractionResponseType.UpdateMessage, data }
}

/** A message that only the user of the interaction sees. Without flags, the channel sees it. */
export function messageResponse(text: string, flags: number = MessageFlags.Ephemeral): object {
  return { type: InteractionResponseType.ChannelMessageWithSource, data: bodyOf(text, flags) }
}
