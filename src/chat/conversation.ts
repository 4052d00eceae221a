// Conversation: the pictures that a thread is about, with the questions and answers about each. Kept in the store, because
// Slack limits how often a thread can be read and Discord hides message contents from most bots.
//
// It holds a picture's sha256 and its id on the platform, never its bytes.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { readJsonOf, type Store, type Time, updateJson } from '../store/store.ts'
import { type PictureRef, type Question, questionSchema } from './question.ts'

/** More turns than fit into any prompt. */
const MAX_TURNS = 20
/** Replies that are deleted with their picture, at most. */
const MAX_QUESTIONS = 200

const conversationSchema = z.object({
  /** Several when one message had several: a follow-up is answered about each. */
  pictures: z.array(
    z.object({
      picture: questionSchema.shape.pictures.element,
      /** sha256 of its bytes: its key in the engine's caches. */
      sha256: z.string().optional(),
      turns: z.array(z.object({ id: z.string(), question: z.string(), answer: z.string() })),
    }),
  ),
  /** Who posted the pictures. */
  owner: z.string().optional(),
  /** Ids of the questions answered in it. Their replies are deleted with the message that it is named after. */
  questions: z.array(z.string()),
  /** It is named after a reply of the bot. The deletion of that reply deletes nothing else. */
  isReply: z.boolean().optional(),
})

type Conversation = z.infer<typeof conversationSchema>

/** What a question adds to its conversations, for one picture. */
export interface Exchange {
  picture: PictureRef
  /** Absent when the picture could not be fetched or decoded. */
  sha256?: string
  /** Absent where nothing was asked in words. */
  answer?: string
}

/** Where conversations are kept, and for how long. */
interface ConversationStore {
  store: Store
  keepMs: number
  time: Time
}

/** Returns the nearest known conversation that the question may belong to. */
export async function findConversation(store: Store, question: Question): Promise<Conversation | undefined> {
  for (const name of question.conversations) {
    const found = await loadConversation(store, name)
    if (found) return found
  }
  return undefined
}

export async function loadConversation(store: Store, name: string): Promise<Conversation | undefined> {
  return (await readJsonOf(store, keyOf(name), conversationSchema.parse))?.value
}

/** The words of the last question about the newest picture; '' when nothing was asked in words. */
export async function lastQuestion(store: Store, name: string): Promise<string> {
  const conversation = await loadConversation(store, name)
  return conversation?.pictures.at(-1)?.turns.at(-1)?.question ?? ''
}

/**
 * Adds the exchanges to the question's conversations, and to those named after its replies. Idempotent by question id.
 * Other pictures than before start the conversation anew.
 */
export async function recordExchange(
  { store, keepMs, time }: ConversationStore,
  question: Question,
  exchanges: readonly Exchange[],
  owner: string | undefined,
  replyNames: readonly string[],
): Promise<void> {
  // A name that is new (the reply's) gets the turns so far as well.
  const soFar = await findConversation(store, question)
  for (const name of [...question.conversations, ...replyNames]) {
    const next = (before: Conversation | undefined) => ({
      ...merged([before, soFar], question, exchanges, owner),
      ...(replyNames.includes(name) ? { isReply: true } : {}),
    })
    await updateJson(store, keyOf(name), conversationSchema.parse, keepMs, next, time)
  }
}

/** Removes a question's turn from these conversations. */
export async function deleteTurn(
  { store, keepMs, time }: ConversationStore,
  names: readonly string[],
  id: string,
): Promise<void> {
  const withoutTurn = (each: Conversation['pictures'][number]) => ({
    ...each,
    turns: each.turns.filter((turn) => turn.id !== id),
  })
  const next = (before: Conversation | undefined) =>
    before && { ...before, pictures: before.pictures.map(withoutTurn) }
  for (const name of names) await updateJson(store, keyOf(name), conversationSchema.parse, keepMs, next, time)
}

export async function deleteConversations(store: Store, names: readonly string[]): Promise<void> {
  for (const name of names) await store.remove(keyOf(name))
}

type Pictured = Pick<Exchange, 'picture' | 'sha256'>

function isSame(one: Pictured, other: Pictured): boolean {
  return one.sha256 && other.sha256 ? one.sha256 === other.sha256 : one.picture.id === other.picture.id
}

/** Whether the conversation is about any of these pictures. */
export function sharesPicture({ pictures }: Conversation, others: readonly Pictured[]): boolean {
  return pictures.some((one) => others.some((other) => isSame(one, other)))
}

function merged(
  before: readonly (Conversation | undefined)[],
  question: Question,
  exchanges: readonly Exchange[],
  owner: string | undefined,
): Conversation {
  const known = before.flatMap((conversation) => conversation?.pictures ?? [])
  const same = before.filter((each) => each && sharesPicture(each, exchanges))
  const questions = new Set(same.flatMap((conversation) => conversation?.questions ?? []))
  return {
    owner,
    questions: [...questions, question.id].slice(-MAX_QUESTIONS),
    pictures: exchanges.map(({ picture, sha256, answer }) => {
      const seen = known.find((each) => isSame(each, { picture, sha256 }))
      const turns = (seen?.turns ?? []).filter(({ id }) => id !== question.id)
      const turn = answer === undefined ? [] : [{ id: question.id, question: question.text, answer }]
      return { picture, sha256: sha256 ?? seen?.sha256, turns: [...turns, ...turn].slice(-MAX_TURNS) }
    }),
  }
}

function keyOf(name: string): string {
  return `conversations/${sha256Hex(name)}`
}
