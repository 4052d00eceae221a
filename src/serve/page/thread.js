// One picture with its caption and its questions: runs them, and draws the one that is shown.
//
// A thread goes on while another is shown. An entry, which is a caption or a turn (a question with its answer), has a state:
// 'running' -> 'done' | 'stopped' | 'failed'. Failures are keys of words.js, so that they can be drawn in another language.

import { fetchReply } from './api.js'
import { t } from './words.js'

/**
 * @typedef {{question?: string, text: string, state: 'running' | 'done' | 'stopped' | 'failed', unknown?: boolean,
 *   problem?: string, detail?: string, wait?: {problem: string, seconds: number, now: () => void}}} Entry
 * @typedef {{id: number, name: string, sample?: string, image: Blob, url: string, alt: string, caption: Entry,
 *   turns: Entry[], draft: string, stop?: AbortController}} Thread
 */

/** More would push the picture off a small screen. */
const MAX_EXAMPLES = 4
const COPIED_MS = 2000
/** The picture itself is at fault: it is not kept. */
const REFUSED = new Set(['not_a_picture', 'damaged', 'too_large'])

export const at = (id) => document.getElementById(id)

/** @type {Thread | undefined} */
let shown
/** @type {{name?: string, examples?: string[]}} */
let model = {}
/** Set by page.js: a thread changed and is to be kept; its picture is none; the server needs an access code. */
let hooks = { changed: (_thread) => {}, refused: (_thread) => {}, locked: (_problem) => {} }
/** The element of each turn. */
const elements = new WeakMap()

export const current = () => shown

/** Connects the controls. */
export function openThreads(callbacks) {
  hooks = callbacks
  at('ask').addEventListener('submit', (event) => {
    event.preventDefault()
    ask(at('question').value.trim())
  })
  at('stop').addEventListener('click', () => {
    shown.stop?.abort()
    focusQuestion()
  })
  at('alt').addEventListener('input', () => {
    shown.alt = at('alt').value
    drawCaption()
    hooks.changed(shown)
  })
  at('undo').addEventListener('click', () => {
    shown.alt = captionOf(shown.caption)
    drawCaption()
    at('alt').focus()
    hooks.changed(shown)
  })
  at('copy').addEventListener('click', copy)
  // The model reads some formats (TIFF) that browsers do not show.
  at('picture').addEventListener('error', () => drawPicture(false))
  at('picture').addEventListener('load', () => drawPicture(true))
}

export function setModel(card) {
  model = card
  draw()
}

/** @param {Thread | undefined} thread shown from now on; undefined: none */
export function show(thread) {
  if (shown) shown.draft = at('question').value
  shown = thread
  at('thread').hidden = !thread
  if (!thread) return
  at('question').value = thread.draft
  at('picture').src = thread.url
  at('turns').replaceChildren(...thread.turns.map(elementOf))
  draw()
  focusQuestion()
}

/** Not on touch screens: their keyboard would cover the picture. */
function focusQuestion() {
  if (matchMedia('(pointer: fine)').matches) at('question').focus({ preventScroll: true })
}

/** Draws all of the shown thread: after a change, and in another language. */
export function draw() {
  if (!shown) return
  drawCaption()
  for (const turn of shown.turns) drawTurn(turn)
  drawComposer()
}

function drawPicture(isShown) {
  const picture = at('picture')
  picture.hidden = !isShown
  at('unshown').hidden = isShown
  // For page.css: a small picture is enlarged, but not beyond recognition.
  picture.style.setProperty('--width', `${picture.naturalWidth}px`)
  picture.style.setProperty('--ratio', String(picture.naturalWidth / picture.naturalHeight || 1))
}

/** @param {Thread} thread */
export const caption = (thread) => run(thread, thread.caption)

function ask(question) {
  if (!question || !shown || shown.stop) return
  at('question').value = ''
  focusQuestion()
  const turn = { question, text: '', state: 'running' }
  shown.turns.push(turn)
  at('turns').append(elementOf(turn))
  run(shown, turn)
  elementOf(turn).scrollIntoView({ block: 'nearest' })
}

/** Runs an entry of a thread. It never throws: the outcome is the entry's state. */
async function run(thread, entry) {
  thread.stop = new AbortController()
  const { signal } = thread.stop
  Object.assign(entry, {
    state: 'running',
    text: '',
    unknown: undefined,
    problem: undefined,
    detail: undefined,
  })
  redraw(thread, entry)
  hooks.changed(thread)
  const known = thread.turns.slice(0, thread.turns.indexOf(entry)).filter(isKnown)
  const history = known.map(({ question, text }) => ({ question, answer: text }))
  const onText = (text) => {
    Object.assign(entry, { text, wait: undefined })
    redraw(thread, entry)
  }
  const onWait = (wait) => {
    const retry = () => {
      entry.wait = undefined
      redraw(thread, entry)
      wait.now()
    }
    entry.wait = { ...wait, now: retry }
    redraw(thread, entry)
  }
  try {
    const asked = { image: thread.image, question: entry.question, history }
    const { text, unknown } = await fetchReply(asked, { signal, onText, onWait })
    Object.assign(entry, { state: 'done', text, unknown: unknown === true })
    if (!entry.question) thread.alt = captionOf(entry)
  } catch (error) {
    entry.state = signal.aborted ? 'stopped' : 'failed'
    entry.problem = signal.aborted ? 'stopped' : (error.problem ?? 'internal')
    entry.detail = error.message
  }
  entry.wait = undefined
  thread.stop = undefined
  if (['locked', 'wrong_code'].includes(entry.problem)) hooks.locked(entry.problem)
  if (!entry.question && REFUSED.has(entry.problem)) return hooks.refused(thread)
  redraw(thread, entry)
  hooks.changed(thread)
  if (thread !== shown) return
  if (entry.question) elementOf(entry).scrollIntoView({ block: 'nearest' })
  if (entry.state === 'done') announce(entry)
}

const isKnown = ({ state, unknown }) => state === 'done' && !unknown

function redraw(thread, entry) {
  if (thread !== shown) return
  if (entry.question) drawTurn(entry)
  else drawCaption()
  drawComposer()
}

/** The caption as alt text; none of a picture that the model does not know. */
const captionOf = (entry) => (isKnown(entry) ? sentence(entry.text) : '')

/** A caption as people read it: without "an image of", with a capital and a full stop. As altText() of chat/compose.ts. */
function sentence(text) {
  const bare = text.replace(/^(there is |this is )?(an?|the) (image|picture|photo|photograph) of /i, '')
  const whole = bare
    .replace(/^\p{Ll}+(?!\p{L})/u, (word) => word[0].toUpperCase() + word.slice(1))
    .replace(/\bi\b(?! ?\.)/g, 'I')
  return /[.!?…]["')\]]*$/.test(whole) ? whole : `${whole}.`
}

function drawCaption() {
  const { caption: entry, alt } = shown
  const isBusy = entry.state === 'running'
  const isUnknown = entry.state === 'done' && entry.unknown
  at('unknown').hidden = !isUnknown
  at('verdict').textContent = isUnknown ? `“${sentence(entry.text)}”` : ''
  const field = at('alt')
  const text = isBusy ? entry.text : alt
  if (field.value !== text) field.value = text
  if (!CSS.supports('field-sizing', 'content')) {
    field.style.height = 'auto'
    field.style.height = `${field.scrollHeight}px`
  }
  field.readOnly = isBusy
  // What people write is in their own language.
  field.lang = isBusy || (text !== '' && text === captionOf(entry)) ? 'en' : document.documentElement.lang
  field.setAttribute('aria-busy', String(isBusy))
  field.placeholder = isBusy ? (entry.wait ? '' : t.looking) : t.write
  at('copy').disabled = isBusy || alt.trim() === ''
  at('undo').hidden = isBusy || alt === captionOf(entry)
  at('alt-hint').textContent = isKnown(entry) && model.name ? t.altHint(model.name) : ''
  at('picture').alt = alt || t.yours
  drawTrouble(at('caption-trouble'), entry)
}

function elementOf(turn) {
  if (!elements.has(turn)) {
    const element = part('li')
    const answer = part('p', 'answer words')
    answer.lang = 'en'
    const trouble = part('div', 'trouble')
    trouble.setAttribute('role', 'alert')
    element.append(part('p', 'question', turn.question), answer, trouble)
    elements.set(turn, element)
  }
  return elements.get(turn)
}

function drawTurn(turn) {
  const [, answer, trouble] = elementOf(turn).children
  // A sentence of its own where the model says that it does not know; its other answers are words such as "two".
  answer.textContent = turn.unknown ? sentence(turn.text) : turn.text
  answer.hidden = turn.text === '' && turn.state !== 'running'
  answer.setAttribute('aria-busy', String(turn.state === 'running' && !turn.wait))
  drawTrouble(trouble, turn)
}

/** Why there is no answer, and a button that tries again. */
function drawTrouble(element, entry) {
  const { problem, wait, detail } = entry
  element.hidden = !problem && !wait
  if (element.hidden) return element.replaceChildren()
  element.classList.toggle('calm', wait !== undefined || problem === 'stopped')
  const thread = shown
  const text = wait ? `${t.problem[wait.problem]} ${t.next(wait.seconds)}` : sentenceOf(problem, thread.name)
  const button = part('button', '', wait ? t.now : t.again)
  button.type = 'button'
  button.addEventListener('click', () => {
    if (wait) wait.now()
    else if (!thread.stop) run(thread, entry)
    focusQuestion()
  })
  element.replaceChildren(part('p', '', text), button)
  if (problem !== 'internal') return
  const more = part('details', 'small')
  more.append(part('summary', '', t.details), part('p', 'soft', detail))
  element.append(more)
}

/** A sentence of words.js, some of which name the file. */
export function sentenceOf(problem, name) {
  const words = t.problem[problem]
  return typeof words === 'function' ? words(name) : words
}

/** One request of a thread at a time: meanwhile the next question can be typed, but not sent. */
function drawComposer() {
  const isBusy = shown.stop !== undefined
  at('send').hidden = isBusy
  at('stop').hidden = !isBusy
  const asked = new Set(shown.turns.map(({ question }) => question))
  const left = (model.examples ?? []).filter((example) => !asked.has(example)).slice(0, MAX_EXAMPLES)
  const buttons = [...at('examples').querySelectorAll('button')]
  if (buttons.map(({ value }) => value).join() !== left.join()) {
    at('examples').replaceChildren(
      ...left.map((example) => {
        const button = part('button', '', example)
        Object.assign(button, { type: 'button', value: example })
        button.addEventListener('click', () => ask(example))
        const item = part('li')
        item.append(button)
        return item
      }),
    )
  }
  for (const button of at('examples').querySelectorAll('button')) button.disabled = isBusy
}

async function copy() {
  const copied = await copyText(shown.alt)
  at('copy').textContent = copied ? t.copied : t.copy
  say(part('span', '', copied ? t.copied : t.copyHow))
  setTimeout(() => {
    at('copy').textContent = t.copy
  }, COPIED_MS)
}

/** Browsers allow the clipboard on secure origins only. Over plain http to another machine the older way is left. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    at('alt').select()
    return document.execCommand('copy')
  }
}

/** Screen readers get a reply once and whole; on the screen it arrives in pieces. */
function announce(entry) {
  const text = part('span', '', entry.question ? entry.text : sentence(entry.text))
  text.lang = 'en'
  say(part('span', '', entry.question ? t.answerSaid : t.captionSaid), ' ', text)
}

/** Read by screen readers only. */
export function say(...words) {
  at('said').replaceChildren(...words)
}

/** @param {string} words inserted as text, never as HTML */
export function part(tag, className = '', words = '') {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (words) element.textContent = words
  return element
}
