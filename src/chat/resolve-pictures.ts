// Question -> the pictures that it is about: those it brings, those that its words choose, or the nearest ones of its
// conversation, its thread or the message it replies to.

import type { Store } from '../store/store.ts'
import type { Turn } from '../tokens/prompt.ts'
import { chooseAmong } from './choice.ts'
import { findConversation, focusOf, type KnownPicture } from './conversation.ts'
import type { Platform } from './platform.ts'
import type { Preferences } from './preferences.ts'
import { Refusal } from './problems.ts'
import { type PictureRef, personOf, type Question } from './question.ts'

/** A picture, with the turns about it so far. */
export interface PictureContext {
  picture: PictureRef
  owner?: string
  /** Absent when it was not answered about before. */
  sha256?: string
  turns: readonly Turn[]
  /** Its number among the pictures of its thread, from 1. */
  place?: number
  /** The file's name, if no other picture there has it. */
  name?: string
  /** The turns about what was asked about before it. */
  earlier?: readonly Turn[]
}

interface Resolved {
  pictures: PictureContext[]
  /** The question without words that choose a picture. */
  text: string
  /** What the reply names, where it may be unclear which picture it is about. */
  about: readonly PictureContext[]
  /** Nothing was answered here before. */
  isFirst: boolean
}

/** A picture of direct messages that was asked about longer ago may be forgotten. */
const CLEAR_MS = 10 * 60_000

export async function resolvePictures(
  question: Question,
  platform: Platform,
  { store, now }: { store: Store; now: () => number },
): Promise<Resolved> {
  const { text, pictures, owner, hasUnseen } = question
  if (pictures.length > 0 || hasUnseen) return firstOf(question, pictures, owner)
  const known = await findConversation(store, question)
  if (!known) {
    const above = await platform.parentPictures(question)
    return firstOf(question, above.pictures, above.owner)
  }
  const groups = groupsOf(known.pictures)
  const focus = focusOf(known)
  const choice = question.trigger === 'automatic' ? undefined : chooseAmong(text, groups)
  const chosen = choice?.chosen ?? focus
  const earlier = focus.flatMap(({ turns }) => turns)
  const contexts = chosen.map((each) => ({ ...each, ...placed(each, known.pictures), earlier }))
  const isOld = now() - known.focusedAt > CLEAR_MS
  const isDirect = question.trigger === 'direct'
  const isLastAsked = known.name === question.lastAsked && (!isDirect || isOld)
  const isUnclear = choice !== undefined || groups.length > 1 || isLastAsked
  return { pictures: contexts, text: choice?.text ?? text, about: isUnclear ? contexts : [], isFirst: false }
}

function firstOf({ text }: Question, pictures: readonly PictureRef[], owner: string | undefined): Resolved {
  const contexts = pictures.map((picture) => ({ picture, owner, turns: [] }))
  const choice = chooseAmong(text, [contexts])
  const chosen = choice?.chosen ?? contexts
  const about = choice ? chosen.map((each) => ({ ...each, ...placed(each, contexts) })) : []
  return { pictures: chosen, text: choice?.text ?? text, about, isFirst: true }
}

type Named = Pick<PictureContext, 'picture'>

function placed(one: Named, all: readonly Named[]): Pick<PictureContext, 'place' | 'name'> {
  const { name } = one.picture
  const isUnique = all.filter(({ picture }) => picture.name === name).length === 1
  return { place: all.indexOf(one) + 1, name: isUnique ? name : undefined }
}

/** The pictures of each message, oldest first. */
function groupsOf(pictures: readonly KnownPicture[]): KnownPicture[][] {
  const groups = new Map<string, KnownPicture[]>()
  for (const each of pictures) {
    const key = each.picture.postedIn ?? String(each.at)
    groups.set(key, [...(groups.get(key) ?? []), each])
  }
  return [...groups.values()]
}

/** People who opted out can still ask about their own pictures. @throws Refusal `opted_out` */
export async function checkOwners(
  question: Question,
  pictures: readonly Pick<PictureContext, 'owner'>[],
  { preferences }: { preferences: Preferences },
): Promise<void> {
  const { asker, trigger, platform } = question
  for (const owner of new Set(pictures.map((each) => each.owner))) {
    if (owner === undefined || (owner === asker.id && trigger !== 'automatic')) continue
    if (await preferences.hasOptedOut(personOf(platform, owner))) throw new Refusal('opted_out')
  }
}
