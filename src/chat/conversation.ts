// Conversation: the pictures of a thread, with the questions and answers about each. Kept in the store, because Slack limits
// how often a thread can be read and Discord hides message contents from most bots.
//
// It holds a picture's sha256 and its id on the platform, never its bytes.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { readJsonOf, type Store, type Time, updateJson } from '../store/store.ts'
import { type PictureRef, type Question, questionSchema } from './question.ts'

/** More turns than fit into any prompt. */
const MAX_TURNS = 20
/** Of a long thread, the newest pictures. */
const MAX_PICTURES = 50

const pictureSchema = z.object({
  picture: questionSchema.shape.pictures.element,
  /** sha256 of its bytes: its key in the engine's caches. */
  sha256: z.string().optional(),
  turns: z.array(z.object({ id: z.string(), question: z.string(), answer: z.string() })),
  /** Milliseconds since 1970: when it was posted, or first asked about. */
  at: z.number().default(0),
  /** Who posted it. */
  owner: z.string().optional(),
})

const conversationSchema = z.object({
  /** Oldest first. */
  pictures: z.array(pictureSchema),
  /** What the next question is about: the ids of the pictures that were posted or asked about last. */
  focus: z.array(z.string()).default([]),
  /** When they were. */
  focusedAt: z.number().default(0),
  /** It is named after a reply of the bot. The deletion of that reply deletes nothing else. */
  isReply: z.boolean().optional(),
  /** The question that was asked last, also where it got no turn. Of a reply: the one that it answers. */
  asked: z.object({ id: z.string(), question: z.string() }).optional(),
})

export type KnownPicture = z.infer<typeof pictureSchema>
export type Conversation = z.infer<typeof conversationSchema>

/** What a question adds to its conversations, for one picture. */
export interface Exchange {
  picture: PictureRef
  /** Who posted it. */
  owner?: string
  /** Absent when the picture could not be fetched or decoded. */
  sha256?: string
  /** Absent where nothing was asked in words, or the model did not know. */
  answer?: string
  /** What the model was asked, where that is not the question's text. */
  asked?: string
}

/** Where conversations are kept, and for how long. */
export interface ConversationStore {
  store: Store
  keepMs: number
  time: Time
}

/** Returns the nearest known conversation that the question may belong to, and its name. */
export async function findConversation(
  store: Store,
  question: Pick<Question, 'conversations'>,
): Promise<(Conversation & { name: string }) | undefined> {
  for (const name of question.conversations) {
    const found = await loadConversation(store, name)
    if (found && found.pictures.length > 0) return { ...found, name }
  }
  return undefined
}

export async function loadConversation(store: Store, name: string): Promise<Conversation | undefined> {
  return (await readJsonOf(store, keyOf(name), conversationSchema.parse))?.value
}

/** The pictures that a question without a choice is about: those of the focus, else all of the newest message. */
export function focusOf({ pictures, focus }: Conversation): KnownPicture[] {
  const chosen = pictures.filter(({ picture }) => focus.includes(picture.id))
  if (chosen.length > 0) return chosen
  const newest = pictures.at(-1)
  return pictures.filter(({ at }) => at === newest?.at)
}

/** The words of the question that a reply of this name answers, else of the last one; '' when nothing was asked in words. */
export async function lastQuestion(store: Store, name: string): Promise<string> {
  return (await loadConversation(store, name))?.asked?.question ?? ''
}

/** Adds the exchanges to the question's conversations, and to those named after its replies. Idempotent by question id. */
export async function recordExchange(
  kept: ConversationStore,
  question: Question,
  exchanges: readonly Exchange[],
  replyNames: readonly string[],
): Promise<void> {
  // A name that is new gets the turns so far of these pictures as well.
  const soFar = await findConversation(kept.store, question)
  for (const name of [...question.conversations, ...replyNames]) {
    const isNew = replyNames.includes(name)
    await update(kept, name, (before) => {
      const isReply = isNew || before?.isReply
      const asked =
        isReply && !isNew ? before?.asked : { id: question.id, question: wordsOf(question, exchanges) }
      return { ...merged(before, soFar, question, exchanges), isReply, asked }
    })
  }
}

/** Makes the question's pictures the newest of these conversations. Nothing was asked about them. */
export async function notePictures(
  kept: ConversationStore,
  names: readonly string[],
  question: Question,
): Promise<void> {
  const exchanges = question.pictures.map((picture) => ({ picture, owner: question.owner }))
  for (const name of names)
    await update(kept, name, (before) => ({
      ...merged(before, undefined, question, exchanges),
      isReply: before?.isReply,
      asked: before?.asked,
    }))
}

/** Removes a question's turn from these conversations. */
export async function deleteTurn(kept: ConversationStore, names: readonly string[], id: string) {
  const withoutTurn = (each: KnownPicture) => ({
    ...each,
    turns: each.turns.filter((turn) => turn.id !== id),
  })
  for (const name of names)
    await update(kept, name, (before) => {
      const asked = before?.asked?.id === id ? undefined : before?.asked
      return before && { ...before, asked, pictures: before.pictures.map(withoutTurn) }
    })
}

/** Removes pictures with all turns about them, and the conversation when none is left. */
export async function deletePictures(
  kept: ConversationStore,
  name: string,
  isDeleted: (picture: PictureRef) => boolean,
): Promise<void> {
  let isEmpty = false
  await update(kept, name, (before) => {
    const pictures = before?.pictures.filter(({ picture }) => !isDeleted(picture)) ?? []
    isEmpty = pictures.length === 0
    const focus = before?.focus.filter((id) => pictures.some(({ picture }) => picture.id === id)) ?? []
    return before && { ...before, pictures, focus }
  })
  if (isEmpty) await deleteConversations(kept.store, [name])
}

export async function deleteConversations(store: Store, names: readonly string[]): Promise<void> {
  for (const name of names) await store.remove(keyOf(name))
}

async function update(
  { store, keepMs, time }: ConversationStore,
  name: string,
  next: (before: Conversation | undefined) => Conversation | undefined,
): Promise<void> {
  await updateJson(store, keyOf(name), conversationSchema.parse, keepMs, next, time)
}

/** The same file may be posted in several messages: each is a picture of its own. */
function isSame(one: PictureRef, other: PictureRef): boolean {
  const isElsewhere =
    one.postedIn !== undefined && other.postedIn !== undefined && one.postedIn !== other.postedIn
  return one.id === other.id && !isElsewhere
}

/** What the model was asked in words. */
function wordsOf({ text }: Question, exchanges: readonly Exchange[]): string {
  return exchanges[0]?.asked ?? text
}

function merged(
  before: Conversation | undefined,
  soFar: Conversation | undefined,
  question: Question,
  exchanges: readonly Exchange[],
): Conversation {
  const known = [...(before?.pictures ?? []), ...(soFar?.pictures ?? [])]
  const added = exchanges.map(({ picture, owner, sha256, answer, asked = question.text }): KnownPicture => {
    const seen = known.find((each) => isSame(each.picture, picture))
    const turns = (seen?.turns ?? []).filter(({ id }) => id !== question.id)
    const turn = answer === undefined ? [] : [{ id: question.id, question: asked, answer }]
    return {
      picture: { ...seen?.picture, ...picture },
      owner: owner ?? seen?.owner,
      sha256: sha256 ?? seen?.sha256,
      at: seen?.at ?? question.askedAt,
      turns: [...turns, ...turn].slice(-MAX_TURNS),
    }
  })
  // A picture keeps its place.
  const pictures = [...(before?.pictures ?? [])]
  for (const each of added) {
    const place = pictures.findIndex(({ picture }) => isSame(picture, each.picture))
    pictures.splice(place < 0 ? pictures.length : place, place < 0 ? 0 : 1, each)
  }
  const isNewer = question.askedAt >= (before?.focusedAt ?? 0)
  return {
    pictures: pictures.sort((one, other) => one.at - other.at).slice(-MAX_PICTURES),
    focus: isNewer ? exchanges.map(({ picture }) => picture.id) : before!.focus,
    focusedAt: isNewer ? question.askedAt : before!.focusedAt,
  }
}

function keyOf(name: string): string {
  return `conversations/${sha256Hex(name)}`
}
