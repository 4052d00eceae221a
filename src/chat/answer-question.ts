// Question -> reply: finds the pictures that are meant, checks opt-out, rate limit and load, and sends one request a
// picture to the engine. Every error becomes a sentence for the asker. Only `stopping` and failures of the store are thrown,
// because then another process or a later delivery answers.

import type { Engine } from '../engine/engine.ts'
import type { BaseResult, InferenceResult } from '../engine/request.ts'
import type { TextTask } from '../engine/tasks.ts'
import { BusyError, codeOf, isGlimpseError } from '../errors.ts'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import { count } from '../observe/metrics.ts'
import type { Store } from '../store/store.ts'
import { withTimeout } from '../time.ts'
import { altText, type ChatReply, type ReplyPart } from './compose.ts'
import type { Exchange } from './conversation.ts'
import { fixedReply, helpReply, isFirstDirect } from './fixed-replies.ts'
import { asksForAnother, intentOf } from './intent.ts'
import type { Platform } from './platform.ts'
import type { Preferences } from './preferences.ts'
import { faultOf, problemReply, problemText, Refusal } from './problems.ts'
import { personOf, type Question } from './question.ts'
import type { RateLimiter } from './rate-limit.ts'
import { checkOwners, type PictureContext, resolvePictures } from './resolve-pictures.ts'
import { removeSign } from './signs.ts'

export interface AnswerDeps {
  engine: Promise<Engine>
  store: Store
  rateLimiter: RateLimiter
  preferences: Preferences
  /** Questions that may be ahead of an accepted one. */
  maxQueue: number
  /** How long conversations and jobs are kept. */
  keepMs: number
  /** Called with internal errors and platform refusals. They contain no user text. */
  report: (error: unknown) => void
  now: () => number
  /** Ids of the questions that are fetching pictures or waiting for the engine. */
  inFlight: Set<string>
}

type AnyTextResult = BaseResult & Pick<InferenceResult, 'unknown'>

/** One of several attempts to answer a question. */
interface Attempt {
  /** An earlier one did not finish. It has counted the question already (rate-limit.ts). */
  isRepeated?: boolean
  /** When this process ends by itself, in milliseconds since 1970. */
  endsAt?: number
}

interface Answer {
  /** Absent: nothing is posted. */
  reply?: ChatReply
  /** To be recorded in the conversation. */
  exchanges: Exchange[]
}

/** Budget for one answer; leaves 15 s of a minute to post it. */
const ANSWER_TIMEOUT_MS = 45_000
/** The same before the end of the process: two attempts to post (deliver.ts). */
const POST_MS = 20_000
/** Platforms remove a typing indicator after 10 s. */
const TYPING_EVERY_MS = 8_000
const MAX_PICTURES = 10
/** Codes of pictures that a platform's smaller rendering may stand for. */
const RENDERED: readonly string[] = ['not_a_picture', 'picture_too_large']

/**
 * Shows a typing indicator meanwhile. `isSignGone` resolves when its removal was tried; the reply need not wait for it.
 * @throws BusyError `stopping`, `waiting`, UpstreamError of the store
 */
export async function answerQuestion(
  question: Question,
  platform: Platform,
  deps: AnswerDeps,
  attempt: Attempt = {},
): Promise<Answer & { isSignGone: Promise<boolean> }> {
  let shown: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  const show = (ahead: number) => {
    shown = platform.startTyping(question, ahead)
  }
  const startTyping = (ahead: number) => {
    if (question.trigger === 'automatic') return
    show(ahead)
    timer = setInterval(show, TYPING_EVERY_MS, 0)
  }
  const stopTyping = async () => {
    clearInterval(timer)
    // An indicator that is removed before it is set would stay.
    await shown
    return !shown || (await removeSign(question, platform, deps.report))
  }
  try {
    const answer = await replyTo(question, platform, deps, attempt, startTyping)
    return { ...answer, isSignGone: stopTyping() }
  } catch (error) {
    clearInterval(timer)
    // It stays until the engine has answered: the next delivery removes it.
    if (!isWaiting(error)) void stopTyping()
    throw error
  }
}

async function replyTo(
  question: Question,
  platform: Platform,
  deps: AnswerDeps,
  { isRepeated, endsAt }: Attempt,
  startTyping: (ahead: number) => void,
): Promise<Answer> {
  const messages = messagesFor(await platform.localeOf(question))
  const isAutomatic = question.trigger === 'automatic'
  // The words beside a picture that nobody asked about are not for the bot.
  const intent = isAutomatic ? 'empty' : intentOf(question.text)
  const isBystander = question.trigger === 'follow_up' && !question.isToUs
  try {
    const isWelcome = question.trigger === 'direct' && (await isFirstDirect(question, deps))
    const fixed = await fixedReply(intent, question, deps, messages)
    if (fixed) {
      const reply = isWelcome && intent !== 'who' ? await helpReply(deps, messages) : fixed
      return { reply, exchanges: [] }
    }
    // "that is wrong", as a reply to an answer; talk of people.
    const wants = intent === 'question' || intent === 'caption' || intent === 'empty'
    if (question.trigger === 'follow_up' && !wants) return { exchanges: [] }
    const found = await resolvePictures(question, platform, deps)
    const { pictures, isFirst, about } = found
    await checkOwners(question, pictures, deps)
    if (pictures.length === 0 && isBystander) return { exchanges: [] }
    if (pictures.length === 0 && isWelcome && !question.hasUnseen)
      return { reply: await helpReply(deps, messages), exchanges: [] }
    if (!isAutomatic && !isRepeated) {
      const waitMs = await deps.rateLimiter.consume(personOf(question.platform, question.asker.id))
      if (waitMs !== undefined) throw new Refusal('limit', waitMs)
    }
    if (pictures.length === 0) throw new Refusal(question.hasUnseen ? 'unseen' : 'no_picture')

    const shown = pictures.slice(0, MAX_PICTURES)
    const ahead = deps.inFlight.size
    if (ahead > deps.maxQueue) throw new Refusal('busy', ahead)
    deps.inFlight.add(question.id)
    startTyping(ahead)
    const text = isAutomatic ? '' : question.request ? question.text : wordsFor(found.text, pictures)
    const answers = answerEach(shown, { ...question, text }, platform, deps, messages, endsAt)
    const { parts: all, exchanges } = await answers.finally(() => deps.inFlight.delete(question.id))
    const parts = isAutomatic ? all.filter(({ kind }) => kind === 'alt') : all
    if (parts.length === 0) return { exchanges: [] }
    const isAnswer = parts.some(({ kind }) => kind !== 'problem')
    const notes: string[] = []
    if (isAnswer && about.length > 0)
      notes.push(messages.about(about.map((each) => nameOf(each, messages)).join(', ')))
    // Once in a thread: platforms also mark the author as a bot.
    if (isAnswer && isFirst) notes.push(messages.machineMade)
    if (isAnswer && isFirst && messages.locale !== 'en') notes.push(messages.englishOnly)
    if (isAnswer && isWelcome) notes.push(messages.firstDirect)
    if (pictures.length > shown.length) notes.push(messages.leftOut(pictures.length - shown.length))
    const ephemeral = question.trigger === 'shortcut' || !isAnswer
    return { reply: { parts, notes, ephemeral, messages }, exchanges: isAnswer ? exchanges : [] }
  } catch (error) {
    if (isForAnother(error)) throw error
    reportFault(error, deps, messages)
    if (isAutomatic || (isBystander && error instanceof Refusal)) return { exchanges: [] }
    return { reply: problemReply(error, messages), exchanges: [] }
  }
}

/** Logs and counts an error that is not the asker's own: each is an apology, or silence, in place of an answer. */
function reportFault(error: unknown, { report }: Pick<AnswerDeps, 'report'>, messages: Messages): void {
  const fault = faultOf(error, messages)
  if (fault === undefined) return
  report(fault)
  count('glimpse_apologies_total', { code: codeOf(fault) })
}

/** The question for the model; '' where a caption is wanted. "and this one?" repeats the last question. */
function wordsFor(text: string, pictures: readonly PictureContext[]): string {
  if (intentOf(text) === 'question') return text
  const last = pictures.flatMap(({ earlier = [] }) => earlier).at(-1)
  return last !== undefined && asksForAnother(text) ? last.question : ''
}

function nameOf({ name, place }: PictureContext, messages: Messages): string {
  return name ?? messages.picture(place ?? 1)
}

async function answerEach(
  pictures: readonly PictureContext[],
  question: Question,
  platform: Platform,
  deps: AnswerDeps,
  messages: Messages,
  processEndsAt = Number.POSITIVE_INFINITY,
): Promise<{ parts: ReplyPart[]; exchanges: Exchange[] }> {
  const began = deps.now()
  const stillLoading = () => new BusyError('loading', 'The model is still loading. Try again in a minute.')
  const loadMs = Math.min(ANSWER_TIMEOUT_MS, processEndsAt - POST_MS - began)
  const engine = await withTimeout(deps.engine, loadMs, stillLoading)
  // An engine that has to start first gets the time it needs: the typing indicator stays visible.
  const waitMs = Math.max(ANSWER_TIMEOUT_MS, engine.maxWaitMs ?? 0)
  const endsAt = Math.min(began + waitMs, processEndsAt - POST_MS)
  const { request, text } = question
  const isQuestion = text !== '' || (request !== undefined && request.task !== 'caption')
  const parts: ReplyPart[] = []
  const exchanges: Exchange[] = []
  let waiting: unknown
  for (const [index, context] of pictures.entries()) {
    const number = pictures.length > 1 ? index + 1 : undefined
    const { picture } = context
    try {
      const result = await answerAbout(
        engine,
        context,
        { text, request, id: question.id },
        platform,
        () => endsAt - deps.now(),
      )
      const spoiler = picture.spoiler === true
      // A caption that a person asks for begins with the author's alt text. Described pictures get no automatic caption.
      if (!isQuestion && picture.altText !== undefined)
        parts.push({ number, kind: 'answer', text: messages.authorsAltText(picture.altText), spoiler })
      parts.push({ number, ...shownAs(result, isQuestion, messages), spoiler })
      // A turn has words on both sides: it becomes a part of later prompts.
      const isTurn = text !== '' && !result.unknown && result.text.trim() !== ''
      exchanges.push({
        picture,
        owner: context.owner,
        sha256: result.picture,
        answer: isTurn ? result.text : undefined,
        asked: text,
      })
    } catch (error) {
      // All pictures are sent before the engine is waited for.
      if (isWaiting(error)) {
        waiting = error
        continue
      }
      // The problem of a single picture is the whole reply; one of several is a part of it.
      if (number === undefined || isForAnother(error)) throw error
      reportFault(error, deps, messages)
      parts.push({ number, text: problemText(error, messages), kind: 'problem', spoiler: false })
      exchanges.push({ picture, owner: context.owner, sha256: context.sha256 })
    }
  }
  if (waiting) throw waiting
  return { parts, exchanges }
}

/** A text that says "I do not know" is in the asker's language, and is no alt text. */
function shownAs(
  { text, unknown }: AnyTextResult,
  isQuestion: boolean,
  messages: Messages,
): Pick<ReplyPart, 'text' | 'kind'> {
  if (unknown) return { kind: 'answer', text: isQuestion ? messages.unsure : messages.unknownPicture }
  if (isQuestion) return { kind: 'answer', text: text || messages.nothing }
  const alt = altText(text)
  return alt === '' ? { kind: 'answer', text: messages.nothing } : { kind: 'alt', text: alt }
}

/**
 * Asks by the picture's sha256 first, when it is known. Fetches the bytes when the engine does not have it. An engine that
 * got the bytes would know their sha256, but the platform would have sent them.
 */
async function answerAbout(
  engine: Engine,
  { picture, sha256, turns }: PictureContext,
  { text, request, id }: Pick<Question, 'text' | 'request' | 'id'>,
  platform: Platform,
  remainingMs: () => number,
): Promise<AnyTextResult> {
  const history = turns.map(({ question, answer }) => ({ question, answer }))
  const wanted = request ? { ...request.fields, task: request.task as TextTask } : { question: text, history }
  const ask = async (about: { image: Uint8Array } | { picture: string }) =>
    await engine.answer({ ...wanted, ...about, deadlineMs: Math.max(1, remainingMs()) }, { job: id })
  if (sha256 !== undefined) {
    try {
      return await ask({ picture: sha256 })
    } catch (error) {
      if (!isGlimpseError(error) || error.code !== 'picture_forgotten') throw error
    }
  }
  if (remainingMs() <= 0) throw new BusyError('deadline', 'The pictures before this one took all the time.')
  try {
    return await ask({ image: await platform.fetchPicture(picture, remainingMs()) })
  } catch (error) {
    if (!isGlimpseError(error) || !RENDERED.includes(error.code)) throw error
    // What the decoder refuses, the platform may have rendered: HEIC, 108 megapixels.
    const smaller = await platform.fetchSmaller?.(picture, remainingMs()).catch(() => undefined)
    if (!smaller) throw error
    return await ask({ image: smaller })
  }
}

/** Codes of errors after which another process, or this one later, answers. */
const FOR_ANOTHER: readonly string[] = ['stopping', 'waiting', 'state_failed', 'state_contended']

function isWaiting(error: unknown): boolean {
  return isGlimpseError(error) && error.code === 'waiting'
}

function isForAnother(error: unknown): boolean {
  return isGlimpseError(error) && FOR_ANOTHER.includes(error.code)
}
