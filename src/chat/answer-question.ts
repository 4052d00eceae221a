// A question -> what is said: which pictures are meant, whether they may be looked at, and what the model makes of them.

import type { Engine } from '../engine/engine.ts'
import { BusyError, isGlimpseError } from '../errors.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import type { Store } from '../store/store.ts'
import type { Turn } from '../tokens/prompt.ts'
import { altText, type ChatReply, type Said } from './compose.ts'
import { type Exchange, findConversation } from './conversation.ts'
import { asksForCaption } from './intent.ts'
import type { Platform } from './platform.ts'
import type { Preferences } from './preferences.ts'
import { limitReached, problemText, Refusal } from './problems.ts'
import { type PictureRef, personOf, type Question } from './question.ts'
import type { Limits } from './rate-limit.ts'

/** What an answer is made with. */
export interface Mind {
  engine: Promise<Engine>
  store: Store
  limits: Limits
  preferences: Preferences
  /** Asks that may be ahead of one that is taken to the model. */
  maxQueue: number
  /** How long what a thread needs is kept. */
  keepMs: number
  /** Is told of what is nobody's fault but ours, and of what a platform refused. Never holds what was asked. */
  report: (error: unknown) => void
  now: () => number
  /** Questions whose pictures are being looked at, here: the engine hears of them only after they are fetched. */
  underWay: Set<string>
}

export interface Thought {
  /** Absent: silence is right. */
  reply?: ChatReply
  /** For the thread to remember. */
  exchanges: Exchange[]
  /** Who posted the pictures. */
  owner?: string
  /** Settles when no sign of work is left to be seen. */
  signGone: Promise<void>
}

/** Whoever asks knows within a minute, with some time left to post it. */
const THINK_MS = 45_000
/** Typing signs fade after 10 s. */
const SHOW_EVERY_MS = 8_000
const MAX_PICTURES = 10

/**
 * Ends in a reply, in a sentence why there is none, or, where nobody asked, in silence.
 * @throws BusyError `stopping` when this process ends: the question is the next one's
 */
export async function think(question: Question, platform: Platform, mind: Mind): Promise<Thought> {
  const messages = messagesFor(await platform.localeOf(question))
  const sign = signOf(platform, question)
  try {
    const { looks, owner, isFirst } = await whatIsMeant(question, platform, mind)
    await checkOwner(question, owner, mind)
    // Talk in a thread of somebody else's.
    if (looks.length === 0 && question.trigger === 'follow_up' && !question.isToUs) {
      return { exchanges: [], signGone: sign.end() }
    }
    if (question.trigger !== 'automatic') {
      const waitMs = await mind.limits.take(personOf(question.platform, question.asker.id))
      if (waitMs !== undefined) throw limitReached(waitMs)
    }
    if (looks.length === 0) throw new Refusal('no_picture')

    const shown = looks.slice(0, MAX_PICTURES)
    const { said, exchanges } = await inQueue(question, mind, (ahead) => {
      sign.show(ahead)
      return lookAt(shown, question, platform, mind, messages)
    })
    const isAnswer = said.some(({ kind }) => kind !== 'problem')
    if (!isAnswer && question.trigger === 'automatic') return { exchanges: [], signGone: sign.end() }
    const notes: string[] = []
    // Once in a thread: every platform also marks whoever is no person.
    if (isAnswer && isFirst) notes.push(messages.machineMade)
    if (isAnswer && isFirst && messages.locale !== 'en') notes.push(messages.englishOnly)
    if (looks.length > shown.length) notes.push(messages.leftOut(looks.length - shown.length))
    const onlyForAsker = question.trigger === 'shortcut' || !isAnswer
    const kept = isAnswer ? exchanges : []
    return { reply: { said, notes, onlyForAsker, messages }, exchanges: kept, owner, signGone: sign.end() }
  } catch (error) {
    const signGone = sign.end()
    if (isStopping(error)) throw error
    if (!isGlimpseError(error) && !(error instanceof Refusal)) mind.report(error)
    if (question.trigger === 'automatic') return { exchanges: [], signGone }
    const said: Said[] = [{ text: problemText(error, messages), kind: 'problem', spoiler: false }]
    return { reply: { said, notes: [], onlyForAsker: true, messages }, exchanges: [], signGone }
  }
}

/** A picture to look at, with what was said about it before. */
interface Look {
  picture: PictureRef
  /** Absent when it was not seen yet. */
  sha256?: string
  turns: readonly Turn[]
}

/** The nearest place that has pictures: the message, what it quotes or replies to, and then its thread. */
async function whatIsMeant(
  question: Question,
  platform: Platform,
  { store }: Mind,
): Promise<{ looks: Look[]; owner?: string; isFirst: boolean }> {
  const unseen = (pictures: readonly PictureRef[]) => pictures.map((picture) => ({ picture, turns: [] }))
  if (question.pictures.length > 0) {
    return { looks: unseen(question.pictures), owner: question.owner, isFirst: true }
  }
  const known = await findConversation(store, question)
  if (known) return { looks: known.pictures, owner: known.owner, isFirst: false }
  const { pictures, owner } = await platform.picturesAbove(question)
  return { looks: unseen(pictures), owner, isFirst: true }
}

/** Who wants their pictures left alone may still ask about them. */
async function checkOwner(question: Question, owner: string | undefined, mind: Mind): Promise<void> {
  if (owner === undefined || (owner === question.asker.id && question.trigger !== 'automatic')) return
  if (await mind.preferences.hasOptedOut(personOf(question.platform, owner))) throw new Refusal('opted_out')
}

/** Throws Refusal `busy` when too many are ahead. */
async function inQueue<T>(
  { id }: Question,
  { underWay, maxQueue }: Mind,
  work: (ahead: number) => Promise<T>,
): Promise<T> {
  const ahead = underWay.size
  if (ahead > maxQueue) throw new Refusal('busy', ahead)
  underWay.add(id)
  return await work(ahead).finally(() => underWay.delete(id))
}

async function lookAt(
  looks: readonly Look[],
  question: Question,
  platform: Platform,
  mind: Mind,
  messages: Messages,
): Promise<{ said: Said[]; exchanges: Exchange[] }> {
  const began = mind.now()
  const engine = await within(mind.engine, THINK_MS)
  // One that sleeps is waited for, with the sign of work in sight: the question would only wait elsewhere.
  const endsAt = began + Math.max(THINK_MS, engine.maxWaitMs ?? 0)
  const asked = asksForCaption(question.text) ? '' : question.text
  const isQuestion = asked !== ''
  const said: Said[] = []
  const exchanges: Exchange[] = []
  for (const [index, look] of looks.entries()) {
    const number = looks.length > 1 ? index + 1 : undefined
    const { picture } = look
    try {
      const reply = await answerAbout(engine, look, asked, platform, () => endsAt - mind.now())
      const text = (isQuestion ? reply.text : altText(reply.text)) || messages.nothing
      said.push({ number, text, kind: isQuestion ? 'answer' : 'alt', spoiler: picture.spoiler === true })
      exchanges.push({ picture, sha256: reply.picture, answer: isQuestion ? reply.text : undefined })
    } catch (error) {
      // Alone, it is the reply; among others it stands in its place.
      if (number === undefined || isStopping(error)) throw error
      if (!isGlimpseError(error)) mind.report(error)
      said.push({ number, text: problemText(error, messages), kind: 'problem', spoiler: false })
      exchanges.push({ picture, sha256: look.sha256 })
    }
  }
  return { said, exchanges }
}

/** A picture seen before is asked about by its name alone; its bytes are fetched when the model forgot it. */
async function answerAbout(
  engine: Engine,
  look: Look,
  asked: string,
  platform: Platform,
  leftMs: () => number,
): Promise<{ text: string; picture: string }> {
  const history = look.turns.map(({ question, answer }) => ({ question, answer }))
  const ask = async (about: { image: Uint8Array } | { picture: string }) =>
    await engine.answer({ ...about, question: asked, history, deadlineMs: Math.max(1, leftMs()) })
  const askAnew = async () => {
    if (leftMs() <= 0) throw new BusyError('deadline', 'The pictures before took all the time there is.')
    return await ask({ image: await platform.fetchPicture(look.picture, leftMs()) })
  }
  if (look.sha256 === undefined) return await askAnew()
  return await ask({ picture: look.sha256 }).catch(async (error: unknown) => {
    if (!isGlimpseError(error) || error.code !== 'picture_forgotten') throw error
    return await askAnew()
  })
}

function isStopping(error: unknown): boolean {
  return isGlimpseError(error) && error.code === 'stopping'
}

/** What shows a person that their question is worked on. Never waited for before a reply. */
interface Sign {
  /** From now on, until it ends. */
  show(ahead: number): void
  end(): Promise<void>
}

function signOf(platform: Platform, question: Question): Sign {
  let shown: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  return {
    show(ahead) {
      // Nobody waits for what nobody asked.
      if (question.trigger === 'automatic') return
      shown = platform.showWorking(question, ahead)
      timer = setInterval(() => {
        shown = platform.showWorking(question, 0)
      }, SHOW_EVERY_MS)
    },
    async end() {
      clearInterval(timer)
      if (!shown) return
      // Taken away before it is there it would stay.
      await shown
      await platform.endWorking(question)
    },
  }
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new BusyError('loading', 'The model is still loading. Try again in a minute.')
    timer = setTimeout(() => reject(error), ms)
  })
  return await Promise.race([work, late]).finally(() => clearTimeout(timer))
}
