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
export type FirstAnswer = Record<string, unknown>

export interface Surroundings {
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
export async function firstAnswer(
  incoming: Incoming,
  { preferences, messageContent, report }: Surroundings,
): Promise<FirstAnswer> {
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
        if (incoming.on && !messageContent) return said(messages.problem.needs_intent, EPHEMERAL)
        await preferences.setAutomatic(incoming.channel, incoming.on)
        return said(incoming.on ? messages.done.automaticOn : messages.done.automaticOff)
      case 'opt_out':
        await preferences.setOptedOut(incoming.person, incoming.out)
        return said(incoming.out ? messages.done.optedOut : messages.done.optedIn, EPHEMERAL)
      case 'unknown':
        return said(messages.problem.internal, EPHEMERAL)
    }
  } catch (error) {
    report(error)
    return toldProblem(error, messages)
  }
}

export function toldProblem(error: unknown, messages: Messages): FirstAnswer {
  return said(problemText(error, messages), EPHEMERAL)
}

/** For a question that could not even be taken. */
export function problemReply(error: unknown, { asker }: Question): ChatReply {
  const messages = messagesFor(asker.locale)
  const text = problemText(error, messages)
  return { parts: [{ text, kind: 'problem', spoiler: false }], notes: [], ephemeral: true, messages }
}

function said(text: string, flags = 0): FirstAnswer {
  return { type: MESSAGE_WITH_SOURCE, data: bodyOf(text, flags) }
}
