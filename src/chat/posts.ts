// Post: which pictures a message or a file has, and what was said about them, so that its deletion takes all of that along.
// Written before a conversation or a reply's record names the picture, so that no crash leaves a picture that is not found.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { readJsonOf, updateJson } from '../store/store.ts'
import type { ConversationStore, Exchange } from './conversation.ts'
import { fileKey, type PictureRef } from './question.ts'

/** Replies that are deleted with their picture, at most. */
const MAX_QUESTIONS = 200

const entrySchema = z.object({
  platform: z.string(),
  file: z.string(),
  /** The message that it is attached to, where that is known. */
  message: z.string().optional(),
  sha256: z.string().optional(),
  /** Ids of the questions answered about it. */
  questions: z.array(z.string()),
  /** Names of the conversations that it is in. */
  conversations: z.array(z.string()),
})
const postSchema = z.array(entrySchema)
const holdersSchema = z.array(z.string())

export type PostEntry = z.infer<typeof entrySchema>

/** The ids whose deletion deletes the picture. */
export function deletionIds(platform: string, { id, postedIn }: PictureRef): string[] {
  return [fileKey(platform, id), ...(postedIn === undefined ? [] : [postedIn])]
}

/** `question`: absent when nothing was asked about the pictures. */
export async function recordPosts(
  kept: ConversationStore,
  platform: string,
  pictures: readonly Pick<Exchange, 'picture' | 'sha256'>[],
  { question, conversations }: { question?: string; conversations: readonly string[] },
): Promise<void> {
  for (const { picture, sha256 } of pictures) {
    const added = { platform, file: picture.id, message: picture.postedIn, sha256 }
    for (const id of deletionIds(platform, picture)) {
      await update(kept, postKey(id), postSchema.parse, (before = []) => {
        const entry = before.find((each) => isSame(each, added)) ?? { questions: [], conversations: [] }
        const next: PostEntry = {
          ...added,
          sha256: sha256 ?? ('sha256' in entry ? entry.sha256 : undefined),
          questions: unique([...entry.questions, ...(question === undefined ? [] : [question])]),
          conversations: unique([...entry.conversations, ...conversations]),
        }
        return [...before.filter((each) => !isSame(each, added)), next]
      })
    }
    if (sha256 === undefined) continue
    const holder = holderOf(added)
    await update(kept, holdersKey(sha256), holdersSchema.parse, (before = []) =>
      before.includes(holder) ? undefined : [...before, holder],
    )
  }
}

export async function readPost({ store }: ConversationStore, id: string): Promise<PostEntry[]> {
  return (await readJsonOf(store, postKey(id), postSchema.parse))?.value ?? []
}

/** Removes the entries wherever they are. Returns the sha256 of the pictures that no other message has. */
export async function forgetPost(kept: ConversationStore, entries: readonly PostEntry[]): Promise<string[]> {
  const unheld: string[] = []
  for (const entry of entries) {
    for (const id of deletionIds(entry.platform, { id: entry.file, postedIn: entry.message })) {
      await removeFrom(kept, postKey(id), postSchema.parse, (each) => !isSame(each, entry))
    }
    const { sha256 } = entry
    if (sha256 === undefined) continue
    const holder = holderOf(entry)
    const left = await removeFrom(kept, holdersKey(sha256), holdersSchema.parse, (each) => each !== holder)
    if (left === 0) unheld.push(sha256)
  }
  return unheld
}

type Placed = Pick<PostEntry, 'platform' | 'file' | 'message'>

function isSame(one: Placed, other: Placed): boolean {
  return one.file === other.file && one.message === other.message
}

function holderOf({ platform, file, message }: Placed): string {
  return sha256Hex(`${message ?? ''} ${fileKey(platform, file)}`).slice(0, 32)
}

/** Returns how many are left. A list without elements is removed. */
async function removeFrom<T>(
  kept: ConversationStore,
  key: string,
  parse: (value: unknown) => T[],
  isKept: (each: T) => boolean,
): Promise<number> {
  let left = 0
  await update(kept, key, parse, (before) => {
    left = before?.filter(isKept).length ?? 0
    return before?.filter(isKept)
  })
  if (left === 0) await kept.store.remove(key)
  return left
}

async function update<T>(
  { store, keepMs, time }: ConversationStore,
  key: string,
  parse: (value: unknown) => T,
  next: (before: T | undefined) => T | undefined,
): Promise<void> {
  await updateJson(store, key, parse, keepMs, next, time)
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].slice(-MAX_QUESTIONS)
}

const postKey = (id: string) => `posts/${sha256Hex(id)}`
const holdersKey = (sha256: string) => `holders/${sha256}`
