// Whether a question that nobody addressed to us is ours all the same: talk in a thread about a picture, a picture where
// captions are automatic.

import type { Store } from '../store/store.ts'
import { findConversation } from './conversation.ts'
import type { Preferences } from './preferences.ts'
import type { Question } from './question.ts'

interface RelevanceDeps {
  store: Store
  preferences: Preferences
  /** Whether an answer is on its way in a conversation of this name. */
  isAnswerPending: (name: string) => Promise<boolean>
}

export async function shouldAnswer(
  question: Question,
  { store, preferences, isAnswerPending }: RelevanceDeps,
): Promise<boolean> {
  if (question.trigger === 'automatic') return await preferences.isAutomatic(question.channel)
  if (question.trigger !== 'follow_up' || question.isToUs) return true
  for (const name of question.conversations) if (await isAnswerPending(name)) return true
  return (await findConversation(store, question)) !== undefined
}
