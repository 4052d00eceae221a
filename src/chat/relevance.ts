// Question -> whether to answer it. A message that does not address the bot is answered when it asks in a conversation
// that the bot has answered in, or when it posts a picture in a channel with automatic captions.

import type { Store } from '../store/store.ts'
import { findConversation } from './conversation.ts'
import type { Preferences } from './preferences.ts'
import type { Question } from './question.ts'

/** @param isAnswerPending whether a question of this conversation is being answered */
export async function shouldAnswer(
  question: Question,
  store: Store,
  preferences: Preferences,
  isAnswerPending: (conversation: string) => Promise<boolean>,
): Promise<boolean> {
  if (question.trigger === 'automatic') return await preferences.isAutomatic(question.channel)
  if (question.trigger !== 'follow_up' || question.isToUs) return true
  if (question.pictures.length > 0 && (await preferences.isAutomatic(question.channel))) return true
  for (const name of question.conversations) if (await isAnswerPending(name)) return true
  return (await findConversation(store, question)) !== undefined
}
