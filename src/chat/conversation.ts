// What a thread is about: the picture behind it and what was asked and answered.
//
// Kept by us, because Slack limits how a thread can be read back and Discord gives contents only to some. Neither the
// picture nor anything that could show it is in here: its sha256, and where the platform has it.

import { createHash } from 'node:crypto'
import { z } from 'zod'
import { jsonBytes, readJsonOf, type Store } from '../store/store.ts'
import { type PictureRef, type Question, questionSchema } from './question.ts'

/** More turns than any prompt has room for are not worth keeping. */
const MAX_TURNS = 20
/** Writers of one thread that meet this often in a row are not people. */
const MAX_TRIES = 10

const conversationSchema = z.object({
  /** Several where they came in one message: what is asked then is asked about each. */
  pictures: z.array(
    z.object({
      picture: questionSchema.shape.pictures.element,
      /** sha256 of its bytes, under which the engine may still know it. */
      sha256: z.string(),
      turns: z.array(z.object({ id: z.string(), question: z.string(), answer: z.string() })),
    }),
  ),
  /** Who posted them. */
  owner: z.string().optional(),
})

export type Conversation = z.infer<typeof conversationSchema>

/** What a question came to: a picture it was answered about, and the answer unless it was a caption. */
export interface Exchange {
  picture: PictureRef
  sha256: string
  answer?: string
}

/** The nearest conversation that the question can belong to. */
export async function findConversation(store: Store, question: Question): Promise<Conversation | undefined> {
  for (const name of question.conversations) {
    const found = await readJsonOf(store, keyOf(name), conversationSchema.parse)
    if (found) return found.value
  }
  return undefined
}

/** Adds what a question came to. Other pictures begin anew; a question that is in it already is not added again. */
export async function remember(
  store: Store,
  question: Question,
  exchanges: readonly Exchange[],
  owner: string | undefined,
  ttlMs: number,
  also: readonly string[] = [],
): Promise<void> {
  // A name that does not know these pictures (the answer's own, which the next question may reply to) takes over what
  // was said about them so far.
  const soFar = await findConversation(store, question)
  for (const name of [...question.conversations, ...also]) {
    // Two who ask at once in one thread both stay in it.
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const found = await readJsonOf(store, keyOf(name), conversationSchema.parse)
      const bytes = jsonBytes(grown([found?.value, soFar], question, exchanges, owner))
      const done = found
        ? await store.replace(keyOf(name), bytes, ttlMs, found.version)
        : await store.create(keyOf(name), bytes, ttlMs)
      if (done !== undefined) break
    }
  }
}

/** The pictures are gone from the platform: nothing about them stays. */
export async function forgetConversations(store: Store, names: readonly string[]): Promise<void> {
  for (const name of names) await store.remove(keyOf(name))
}

function grown(
  before: readonly (Conversation | undefined)[],
  question: Question,
  exchanges: readonly Exchange[],
  owner: string | undefined,
): Conversation {
  const known = before.flatMap((conversation) => conversation?.pictures ?? [])
  const turnsOf = (sha256: string) => known.find((each) => each.sha256 === sha256)?.turns ?? []
  return {
    owner,
    pictures: exchanges.map(({ picture, sha256, answer }) => {
      const turns = turnsOf(sha256).filter(({ id }) => id !== question.id)
      const turn = answer === undefined ? [] : [{ id: question.id, question: question.text, answer }]
      return { picture, sha256, turns: [...turns, ...turn].slice(-MAX_TURNS) }
    }),
  }
}

function keyOf(name: string): string {
  return `conversations/${createHash('sha256').update(name).digest('hex')}`
}
