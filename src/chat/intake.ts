// Questions as they are submitted -> which of them are for the bot, in an order that is fixed before anything is awaited: a
// follow-up that comes together with its picture waits until it is known that the picture is answered.

import type { Store } from '../store/store.ts'
import { type ConversationStore, findConversation, notePictures } from './conversation.ts'
import { recordPosts } from './posts.ts'
import type { Preferences } from './preferences.ts'
import { type Question, undescribed } from './question.ts'

interface IntakeOptions {
  kept: ConversationStore
  preferences: Preferences
  /** Whether a question of this conversation is being answered. */
  isAnswerPending: (conversation: string) => Promise<boolean>
  sleep: (ms: number) => Promise<unknown>
  /** Settles the decision on a question, which may fail with the store. Default: as it is. */
  settle?: (decided: Promise<Question | undefined>, question: Question) => Promise<Question | undefined>
}

/** What one call of `submit` came to. */
interface Admission {
  /** The question, of two deliveries of one message the fuller; undefined when it is not for the bot. */
  question: Promise<Question | undefined>
  /** From now on `isAnswerPending` knows of it. */
  release(): void
}

export function openIntake({
  kept,
  preferences,
  isAnswerPending,
  sleep,
  settle = (decided) => decided,
}: IntakeOptions) {
  /** By conversation: whether questions that were submitted before, and are not recorded yet, are for the bot. */
  const undecided = new Map<string, Set<Promise<boolean>>>()
  /** By question id: takes a fuller delivery in place of the one that waits for it. */
  const waiting = new Map<string, (fuller: Question) => void>()

  const isPending = async (name: string, earlier: readonly Promise<boolean>[]) =>
    (await Promise.all(earlier)).includes(true) || (await isAnswerPending(name))

  const decide = async (
    question: Question,
    earlier: ReadonlyMap<string, readonly Promise<boolean>[]>,
  ): Promise<Question | undefined> => {
    const { trigger, conversations, pictures } = question
    if (trigger !== 'automatic' && (trigger !== 'follow_up' || question.isToUs)) return question
    const pending: string[] = []
    for (const name of conversations) if (await isPending(name, earlier.get(name) ?? [])) pending.push(name)
    if (trigger === 'automatic') await note(kept, question, pending)
    else if (pending.length > 0 || (await findConversation(kept.store, question))) return question
    if (pictures.length === 0 || !(await preferences.isAutomatic(question.channel))) return undefined
    // A question beside a picture is not for the bot in a thread of others: its picture gets a caption like any other.
    const plain: Question = { ...question, trigger: 'automatic', text: '', pictures: undescribed(pictures) }
    return plain.pictures.length > 0 ? plain : undefined
  }

  return {
    /**
     * Reserves the question's turn at once. With `delayMs`, waits that long for a fuller delivery of the same message.
     * Returns undefined for the fuller delivery itself, which takes the turn of the one that waits.
     */
    admit(question: Question, delayMs: number): Admission | undefined {
      const replace = waiting.get(question.id)
      if (replace) {
        if (delayMs === 0) replace(question)
        return undefined
      }
      const names = question.conversations
      const earlier = new Map(names.map((name) => [name, [...(undecided.get(name) ?? [])]]))
      const complete = delayMs === 0 ? Promise.resolve(question) : fuller(question, delayMs)
      const admitted = complete.then((whole) => settle(decide(whole, earlier), whole))
      const isWanted = admitted.then(
        (whole) => whole !== undefined,
        () => false,
      )
      for (const name of names) undecided.set(name, (undecided.get(name) ?? new Set()).add(isWanted))
      return {
        question: admitted,
        release() {
          for (const name of names) {
            const left = undecided.get(name)
            left?.delete(isWanted)
            if (left?.size === 0) undecided.delete(name)
          }
        },
      }
    },
  }

  function fuller(question: Question, delayMs: number): Promise<Question> {
    return new Promise((resolve) => {
      const settle = (whole: Question) => {
        waiting.delete(question.id)
        resolve(whole)
      }
      waiting.set(question.id, settle)
      void sleep(delayMs).then(() => settle(question))
    })
  }
}

/** A picture that is posted in a thread of the bot is the nearest from then on. */
async function note(kept: ConversationStore, question: Question, pending: readonly string[]): Promise<void> {
  const names: string[] = []
  for (const name of question.conversations) {
    const isKnown = await findConversation(kept.store, { conversations: [name] })
    if (isKnown || pending.includes(name)) names.push(name)
  }
  if (names.length === 0) return
  const pictures = question.pictures.map((picture) => ({ picture }))
  await recordPosts(kept, question.platform, pictures, { conversations: names })
  await notePictures(kept, names, question)
}

/** For a question from a queue, whose order the queue keeps. */
export async function isStillWanted(
  question: Question,
  {
    store,
    preferences,
    isAnswerPending,
  }: { store: Store } & Pick<IntakeOptions, 'preferences' | 'isAnswerPending'>,
): Promise<boolean> {
  if (question.trigger === 'automatic') return await preferences.isAutomatic(question.channel)
  if (question.trigger !== 'follow_up' || question.isToUs) return true
  for (const name of question.conversations) if (await isAnswerPending(name)) return true
  return (await findConversation(store, question)) !== undefined
}
