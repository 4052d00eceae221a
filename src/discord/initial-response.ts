// What an interaction is answered with at once, within Discord's 3 s: over the gateway by a call of ours, over HTTP in the
// response. A reply to the question itself comes later, in its place.

import type { ChatReply } from '../chat/compose.ts'
import type { Preferences } from '../chat/preferences.ts'
import { problemText } from '../chat/problems.ts'
import type { Question } from '../chat/question.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import type { Incoming } from './interactions.ts'
import { bodyOf, EPHEMERAL } from './render.ts'

/** Body of an interaction's response. */
export type InitialResponse = Record<string, unknown>

export interface InteractionDeps {
  preferences: Preferences
  /** Whether contents come that are not addressed to the bot. */
  messageContent: boolean
  report: (error: unknown) => void
}

/** "Interaction callback type". */
const PONG = { type: 1 }
const MESSAGE_WITH_SOURCE = 4
const DEFERRED_MESSAGE_WITH_SOURCE = 5

/** Makes the choice, if it is one, and confirms it. What fails is told to whoever asked, and to `report`. */
export async function initialResponse(
  incoming: Incoming,
  { preferences, messageContent, report }: InteractionDeps,
): Promise<InitialResponse> {
  if (incoming.kind === 'ping') return PONG
  // Whether all may read the answer is fixed here.
  if (incoming.kind === 'question') {
    return { type: DEFERRED_MESSAGE_WITH_SOURCE, data: { flags: incoming.isEphemeral ? EPHEMERAL : 0 } }
  }
  const { messages } = incoming
  try {
    switch (incoming.kind) {
      case 'automatic':
        // Without the intent no picture would ever be seen: better no promise.
        if (incoming.on && !messageContent) return messageResponse(messages.problem.needs_intent, EPHEMERAL)
        await preferences.setAutomatic(incoming.channel, incoming.on)
        return messageResponse(incoming.on ? messages.done.automaticOn : messages.done.automaticOff)
      case 'opt_out':
        await preferences.setOptedOut(incoming.person, incoming.out)
        return messageResponse(incoming.out ? messages.done.optedOut : messages.done.optedIn, EPHEMERAL)
      case 'unknown':
        return messageResponse(messages.problem.internal, EPHEMERAL)
    }
  } catch (error) {
    report(error)
    return ephemeralProblem(error, messages)
  }
}

export function ephemeralProblem(error: unknown, messages: Messages): InitialResponse {
  return messageResponse(problemText(error, messages), EPHEMERAL)
}

/** For a question that could not even be taken. */
export function problemReply(error: unknown, { asker }: Question): ChatReply {
  const messages = messagesFor(asker.locale)
  const text = problemText(error, messages)
  return { parts: [{ text, kind: 'problem', spoiler: false }], notes: [], ephemeral: true, messages }
}

function messageResponse(text: string, flags = 0): InitialResponse {
  return { type: MESSAGE_WITH_SOURCE, data: bodyOf(text, flags) }
}
