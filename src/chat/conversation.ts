// What a thread is about: the picture behind it and what was asked and answered.
//
// Kept by us, because Slack limits how a thread can be read back and Discord gives contents only to some. Neither the
// picture nor anything that could show it is in here: its sha256, and where the platform has it.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { readJsonOf, type Store, type Time, updateJson } from '../store/store.ts'
import { type PictureRef, type Question, questionSchema } from './question.ts'

/** More turns than any prompt has room for are not worth keeping. */
const MAX_TURNS = 20
/** So many replies are taken back with their picture. */
const MAX_QUESTIONS = 200

const conversationSchema = z.object({
  /** Several where they came in one message: what is asked then is asked about each. */
  pictures: z.array(
    z.object({
      picture: questionSchema.shape.pictures.element,
      /** sha256 of its bytes, under which the engine may still know it. */
      sha256: z.string().optional(),
      turns: z.array(z.object({ id: z.string(), question: z.string(), answer: z.string() })),
    }),
  ),
  /** Who posted them. */
  owner: z.string().optional(),
  /** Questions answered in it: their replies go when the message that names it goes. */
  questions: z.array(z.string()),
  /** Named by a reply of ours, whose going takes nothing else along. */
  isReply: z.boolean().optional(),
})

export type Conversation = z.infer<typeof conversationSchema>

/** What a question came to: a picture it was answered about, and the answer unless it was a caption. */
export interface Exchange {
  picture: PictureRef
  /** Absent when it could not be looked at this time. */
  sha256?: string
  answer?: string
}

/** The nearest conversation that the question can belong to. */
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

/** Adds what a question came to. Other pictures begin anew; a question that is in it already is not added again. */
export async function recordExchange(
  store: Store,
  question: Question,
  exchanges: readonly Exchange[],
  owner: string | undefined,
  ttlMs: number,
  also: readonly string[],
  time: Time,
): Promise<void> {
  // A name that does not know these pictures (the answer's own, which the next question may reply to) takes over what
  // was said about them so far.
  const soFar = await findConversation(store, question)
  for (const name of [...question.conversations, ...also]) {
    const next = (before: Conversation | undefined) => ({
      ...merged([before, soFar], question, exchanges, owner),
      ...(also.includes(name) ? { isReply: true } : {}),
    })
    await updateJson(store, keyOf(name), conversationSchema.parse, ttlMs, next, time)
  }
}

/** What was asked in a message that is gone is no longer known. */
export async function deleteTurn(
  store: Store,
  names: readonly string[],
  id: string,
  ttlMs: number,
  time: Time,
): Promise<void> {
  const without = (before: Conversation | undefined) =>
    before && {
      ...before,
      pictures: before.pictures.map((each) => ({
        ...each,
        turns: each.turns.filter((turn) => turn.id !== id),
      })),
    }
  for (const name of names)
    await updateJson(store, keyOf(name), conversationSchema.parse, ttlMs, without, time)
}

/** The pictures are gone from the platform: nothing about them stays. */
export async function deleteConversations(store: Store, names: readonly string[]): Promise<void> {
  for (const name of names) await store.remove(keyOf(name))
}

type Pictured = Pick<Exchange, 'picture' | 'sha256'>

function isSame(one: Pictured, other: Pictured): boolean {
  return one.sha256 && other.sha256 ? one.sha256 === other.sha256 : one.picture.id === other.picture.id
}

/** Whether any of these pictures is in it. */
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
