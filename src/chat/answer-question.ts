// A question -> what is said: which pictures are meant, whether they may be looked at, and what the model makes of them.

import type { Engine } from '../engine/engine.ts'
import { BusyError, isGlimpseError } from '../errors.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import type { Store } from '../store/store.ts'
import { withTimeout } from '../time.ts'
import type { Turn } from '../tokens/prompt.ts'
import { altText, type ChatReply, type ReplyPart } from './compose.ts'
import { type Exchange, findConversation } from './conversation.ts'
import { wantsCaption } from './intent.ts'
import type { Platform } from './platform.ts'
import type { Preferences } from './preferences.ts'
import { problemText, Refusal, rateLimited } from './problems.ts'
import { type PictureRef, personOf, type Question } from './question.ts'
import type { RateLimiter } from './rate-limit.ts'

/** What an answer is made with. */
export interface AnswerDeps {
  engine: Promise<Engine>
  store: Store
  rateLimiter: RateLimiter
  preferences: Preferences
  /** Asks that may be ahead of one that is taken to the model. */
  maxQueue: number
  /** How long what a thread needs is kept. */
  keepMs: number
  /** Is told of what is nobody's fault but ours, and of what a platform refused. Never holds what was asked. */
  report: (error: unknown) => void
  now: () => number
  /** Questions whose pictures are being looked at, here: the engine hears of them only after they are fetched. */
  inFlight: Set<string>
}

export interface AnswerResult {
  /** Absent: silence is right. */
  reply?: ChatReply
  /** For the thread to remember. */
  exchanges: Exchange[]
  /** Who posted the pictures. */
  owner?: string
  /** Settles when no sign of work is left to be seen. */
  typingStopped: Promise<void>
}

/** Whoever asks knows within a minute, with some time left to post it. */
const ANSWER_TIMEOUT_MS = 45_000
/** Typing signs fade after 10 s. */
const TYPING_EVERY_MS = 8_000
const MAX_PICTURES = 10

/**
 * Ends in a reply, in a sentence why there is none, or, where nobody asked, in silence.
 * @throws BusyError `stopping` when this process ends: the question is the next one's
 */
export async function answerQuestion(
  question: Question,
  platform: Platform,
  deps: AnswerDeps,
): Promise<AnswerResult> {
  const messages = messagesFor(await platform.localeOf(question))
  const typing = typingIndicator(platform, question)
  try {
    const { pictures, owner, isFirst } = await resolvePictures(question, platform, deps)
    await checkOwner(question, owner, deps)
    // Talk in a thread of somebody else's.
    if (pictures.length === 0 && question.trigger === 'follow_up' && !question.isToUs) {
      return { exchanges: [], typingStopped: typing.stop() }
    }
    if (question.trigger !== 'automatic') {
      const waitMs = await deps.rateLimiter.consume(personOf(question.platform, question.asker.id))
      if (waitMs !== undefined) throw rateLimited(waitMs)
    }
    if (pictures.length === 0) throw new Refusal('no_picture')

    const shown = pictures.slice(0, MAX_PICTURES)
    const { parts, exchanges } = await withAdmission(question, deps, (ahead) => {
      typing.start(ahead)
      return answerEach(shown, question, platform, deps, messages)
    })
    const isAnswer = parts.some(({ kind }) => kind !== 'problem')
    if (!isAnswer && question.trigger === 'automatic') return { exchanges: [], typingStopped: typing.stop() }
    const notes: string[] = []
    // Once in a thread: every platform also marks whoever is no person.
    if (isAnswer && isFirst) notes.push(messages.machineMade)
    if (isAnswer && isFirst && messages.locale !== 'en') notes.push(messages.englishOnly)
    if (pictures.length > shown.length) notes.push(messages.leftOut(pictures.length - shown.length))
    const ephemeral = question.trigger === 'shortcut' || !isAnswer
    const kept = isAnswer ? exchanges : []
    return {
      reply: { parts, notes, ephemeral, messages },
      exchanges: kept,
      owner,
      typingStopped: typing.stop(),
    }
  } catch (error) {
    const typingStopped = typing.stop()
    if (isStopping(error)) throw error
    if (!isGlimpseError(error) && !(error instanceof Refusal)) deps.report(error)
    if (question.trigger === 'automatic') return { exchanges: [], typingStopped }
    const parts: ReplyPart[] = [{ text: problemText(error, messages), kind: 'problem', spoiler: false }]
    return { reply: { parts, notes: [], ephemeral: true, messages }, exchanges: [], typingStopped }
  }
}

/** A picture to look at, with what was said about it before. */
interface PictureContext {
  picture: PictureRef
  /** Absent when it was not seen yet. */
  sha256?: string
  turns: readonly Turn[]
}

/** The nearest place that has pictures: the message, what it quotes or replies to, and then its thread. */
async function resolvePictures(
  question: Question,
  platform: Platform,
  { store }: AnswerDeps,
): Promise<{ pictures: PictureContext[]; owner?: string; isFirst: boolean }> {
  const unseen = (pictures: readonly PictureRef[]) => pictures.map((picture) => ({ picture, turns: [] }))
  if (question.pictures.length > 0) {
    return { pictures: unseen(question.pictures), owner: question.owner, isFirst: true }
  }
  const known = await findConversation(store, question)
  if (known) return { pictures: known.pictures, owner: known.owner, isFirst: false }
  const { pictures, owner } = await platform.parentPictures(question)
  return { pictures: unseen(pictures), owner, isFirst: true }
}

/** Who wants their pictures left alone may still ask about them. */
async function checkOwner(question: Question, owner: string | undefined, deps: AnswerDeps): Promise<void> {
  if (owner === undefined || (owner === question.asker.id && question.trigger !== 'automatic')) return
  if (await deps.preferences.hasOptedOut(personOf(question.platform, owner))) throw new Refusal('opted_out')
}

/** Throws Refusal `busy` when too many are ahead. */
async function withAdmission<T>(
  { id }: Question,
  { inFlight, maxQueue }: AnswerDeps,
  work: (ahead: number) => Promise<T>,
): Promise<T> {
  const ahead = inFlight.size
  if (ahead > maxQueue) throw new Refusal('busy', ahead)
  inFlight.add(id)
  return await work(ahead).finally(() => inFlight.delete(id))
}

async function answerEach(
  pictures: readonly PictureContext[],
  question: Question,
  platform: Platform,
  deps: AnswerDeps,
  messages: Messages,
): Promise<{ parts: ReplyPart[]; exchanges: Exchange[] }> {
  const began = deps.now()
  const engine = await withTimeout(deps.engine, ANSWER_TIMEOUT_MS, stillLoading)
  // One that sleeps is waited for, with the sign of work in sight: the question would only wait elsewhere.
  const endsAt = began + Math.max(ANSWER_TIMEOUT_MS, engine.maxWaitMs ?? 0)
  const asked = wantsCaption(question.text) ? '' : question.text
  const isQuestion = asked !== ''
  const parts: ReplyPart[] = []
  const exchanges: Exchange[] = []
  for (const [index, context] of pictures.entries()) {
    const number = pictures.length > 1 ? index + 1 : undefined
    const { picture } = context
    try {
      const reply = await answerAbout(engine, context, asked, platform, () => endsAt - deps.now())
      const text = (isQuestion ? reply.text : altText(reply.text)) || messages.nothing
      parts.push({ number, text, kind: isQuestion ? 'answer' : 'alt', spoiler: picture.spoiler === true })
      exchanges.push({ picture, sha256: reply.picture, answer: isQuestion ? reply.text : undefined })
    } catch (error) {
      // Alone, it is the reply; among others it stands in its place.
      if (number === undefined || isStopping(error)) throw error
      if (!isGlimpseError(error)) deps.report(error)
      parts.push({ number, text: problemText(error, messages), kind: 'problem', spoiler: false })
      exchanges.push({ picture, sha256: context.sha256 })
    }
  }
  return { parts, exchanges }
}

/** A picture seen before is asked about by its name alone; its bytes are fetched when the model forgot it. */
async function answerAbout(
  engine: Engine,
  context: PictureContext,
  asked: string,
  platform: Platform,
  remainingMs: () => number,
): Promise<{ text: string; picture: string }> {
  const history = context.turns.map(({ question, answer }) => ({ question, answer }))
  const ask = async (about: { image: Uint8Array } | { picture: string }) =>
    await engine.answer({ ...about, question: asked, history, deadlineMs: Math.max(1, remainingMs()) })
  const askAnew = async () => {
    if (remainingMs() <= 0) throw new BusyError('deadline', 'The pictures before took all the time there is.')
    return await ask({ image: await platform.fetchPicture(context.picture, remainingMs()) })
  }
  if (context.sha256 === undefined) return await askAnew()
  return await ask({ picture: context.sha256 }).catch(async (error: unknown) => {
    if (!isGlimpseError(error) || error.code !== 'picture_forgotten') throw error
    return await askAnew()
  })
}

function isStopping(error: unknown): boolean {
  return isGlimpseError(error) && error.code === 'stopping'
}

/** What shows a person that their question is worked on. Never waited for before a reply. */
interface TypingIndicator {
  /** From now on, until it ends. */
  start(ahead: number): void
  stop(): Promise<void>
}

function typingIndicator(platform: Platform, question: Question): TypingIndicator {
  let shown: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  return {
    start(ahead) {
      // Nobody waits for what nobody asked.
      if (question.trigger === 'automatic') return
      shown = platform.startTyping(question, ahead)
      timer = setInterval(() => {
        shown = platform.startTyping(question, 0)
      }, TYPING_EVERY_MS)
    },
    async stop() {
      clearInterval(timer)
      if (!shown) return
      // Taken away before it is there it would stay.
      await shown
      await platform.stopTyping(question)
    },
  }
}

function stillLoading(): BusyError {
  return new BusyError('loading', 'The model is still loading. Try again in a minute.')
}
