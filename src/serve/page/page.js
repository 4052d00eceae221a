// The page: a picture -> its caption, then answers to questions about it. A new picture starts a new thread.

import { fetchModel, fetchReply, setToken } from './api.js'

/** More would push the picture off a small screen. */
const MAX_EXAMPLES = 4
/** The server's limit, checked before the upload. */
const MAX_PICTURE_BYTES = 20 * 1024 * 1024
const MODEL_RETRY_MS = 2000
const COPIED_MS = 2000

const at = (id) => document.getElementById(id)

/** @type {{image: File, url: string, history: {question: string, answer: string}[], running?: AbortController} | undefined} */
let thread

// A picture is chosen, taken, dropped or pasted.

at('pick').addEventListener('click', () => at('file').click())
at('take').addEventListener('click', () => at('camera').click())
at('again').addEventListener('click', clear)
for (const id of ['file', 'camera']) {
  at(id).addEventListener('change', (event) => {
    const [file] = event.target.files
    event.target.value = ''
    if (file) start(file)
  })
}

document.addEventListener('paste', (event) => {
  const file = event.clipboardData?.files[0]
  if (!file) return
  event.preventDefault()
  start(file)
})

let dragDepth = 0
const dragging = (depth) => {
  dragDepth = Math.max(0, depth)
  document.body.classList.toggle('dragging', dragDepth > 0)
}
document.addEventListener('dragenter', () => dragging(dragDepth + 1))
document.addEventListener('dragleave', () => dragging(dragDepth - 1))
document.addEventListener('dragover', (event) => event.preventDefault())
document.addEventListener('drop', (event) => {
  event.preventDefault()
  dragging(0)
  const file = event.dataTransfer?.files[0]
  if (file) start(file)
  else
    showFileError('That was no file. Save the picture first, or copy the picture itself and paste it here.')
})

/** @param {File} image */
function start(image) {
  if (image.type !== '' && !image.type.startsWith('image/')) {
    showFileError('That file is no picture. Glimpse takes JPEG, PNG, WebP, GIF, AVIF and TIFF.')
    return
  }
  if (image.size > MAX_PICTURE_BYTES) {
    showFileError('This picture is larger than 20 MB. Save a smaller copy and try that one.')
    return
  }
  clear()
  thread = { image, url: URL.createObjectURL(image), history: [] }
  at('picture').src = thread.url
  at('picture').alt = 'Your picture'
  at('start').hidden = true
  at('thread').hidden = false
  at('again').hidden = false
  document.body.classList.add('asking')
  caption()
}

// The model reads some formats (TIFF) that browsers cannot show.
at('picture').addEventListener('error', () => {
  at('mat').hidden = true
})

function clear() {
  thread?.running?.abort()
  if (thread) URL.revokeObjectURL(thread.url)
  thread = undefined
  for (const id of ['thread', 'composer', 'copy', 'again', 'caption-error', 'caption-cost', 'start-error'])
    at(id).hidden = true
  at('start').hidden = false
  at('mat').hidden = false
  at('picture').removeAttribute('src')
  at('turns').replaceChildren()
  at('question').value = ''
  document.body.classList.remove('asking')
  at('pick').focus({ preventScroll: true })
}

/** Shows what is wrong with a file. The current picture and its answers stay. */
function showFileError(message) {
  const place = at(thread ? 'caption-error' : 'start-error')
  place.textContent = message
  place.hidden = false
}

/** Removes the current picture and shows why it was refused. */
function refuse(message) {
  if (thread) clear()
  at('start-error').textContent = message
  at('start-error').hidden = false
}

// The caption.

async function caption() {
  const reply = await run({
    words: at('caption'),
    trouble: at('caption-error'),
    cost: at('caption-cost'),
    again: caption,
  })
  if (!reply) return
  const text = sentence(reply.text)
  at('caption').textContent = text
  // A text that says "I do not know" is no alt text.
  at('picture').alt = reply.unknown ? 'Your picture' : text
  at('copy').hidden = reply.unknown === true
  at('composer').hidden = false
  showExamples()
  announce(`Caption: ${text}`)
  if (matchMedia('(pointer: fine)').matches) at('question').focus({ preventScroll: true })
}

/** A caption as people read it: without "an image of", with a capital and a full stop. As altText() of chat/compose.ts. */
function sentence(caption) {
  const bare = caption.replace(/^(there is |this is )?(an?|the) (image|picture|photo|photograph) of /i, '')
  const text = bare.replace(/^\p{Ll}+(?!\p{L})/u, (word) => word[0].toUpperCase() + word.slice(1))
  return /[.!?…]["')\]]*$/.test(text) ? text : `${text}.`
}

at('copy').addEventListener('click', async () => {
  const copied = await copyText(at('caption').textContent)
  at('copy').textContent = copied ? 'Copied' : 'Select the text and copy it'
  announce(at('copy').textContent)
  setTimeout(() => {
    at('copy').textContent = 'Copy alt text'
  }, COPIED_MS)
})

/** Browsers allow the clipboard on secure origins only. Over plain http to another machine the text is selected instead. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    getSelection().selectAllChildren(at('caption'))
    return false
  }
}

// Questions and answers.

at('ask').addEventListener('submit', (event) => {
  event.preventDefault()
  const question = at('question').value.trim()
  if (question) ask(question)
})
at('stop').addEventListener('click', () => thread?.running?.abort())

function ask(question) {
  if (!thread || thread.running) return
  at('question').value = ''
  const turn = part('li')
  const words = part('p', 'answer words')
  const trouble = part('div', 'error')
  trouble.setAttribute('role', 'alert')
  trouble.hidden = true
  const cost = part('details', 'cost')
  cost.hidden = true
  turn.append(part('p', 'question', question), words, trouble, cost)
  at('turns').append(turn)
  showExamples()
  answer({ question, words, trouble, cost })
}

async function answer({ question, words, trouble, cost }) {
  const again = () => answer({ question, words, trouble, cost })
  const running = run({ question, words, trouble, cost, again })
  words.parentElement.scrollIntoView({ block: 'nearest' })
  const reply = await running
  words.parentElement.scrollIntoView({ block: 'nearest' })
  if (!reply) return
  if (!reply.unknown) thread.history.push({ question, answer: reply.text })
  announce(`Answer: ${reply.text}`)
}

/** Shows the example questions that were not asked yet. */
function showExamples() {
  const asked = new Set([...document.querySelectorAll('.question')].map((element) => element.textContent))
  const items = examples
    .filter((example) => !asked.has(example))
    .slice(0, MAX_EXAMPLES)
    .map((example) => {
      const button = part('button', '', example)
      button.type = 'button'
      button.addEventListener('click', () => {
        ask(example)
        at('question').focus({ preventScroll: true })
      })
      const item = part('li')
      item.append(button)
      return item
    })
  at('examples').replaceChildren(...items)
}

/** Sends one request and shows its reply. Undefined when it failed or was stopped, or when the picture was replaced. */
async function run({ question, words, trouble, cost, again }) {
  const current = thread
  const running = new AbortController()
  current.running = running
  trouble.hidden = true
  cost.hidden = true
  words.hidden = false
  words.textContent = ''
  words.setAttribute('aria-busy', 'true')
  setBusy(true)
  try {
    const onToken = (piece) => {
      if (thread === current) words.textContent = (words.textContent + piece).trimStart()
    }
    const { image, history } = current
    const reply = await fetchReply({ image, question, history, signal: running.signal, onToken })
    if (thread !== current) return undefined
    words.textContent = reply.text
    showCost(cost, reply)
    return reply
  } catch (error) {
    if (thread !== current) return undefined
    words.hidden = words.textContent === ''
    if (error.locked) askForToken(error.message)
    if (!question && !error.retry) refuse(error.message)
    else if (running.signal.aborted) showTrouble(trouble, 'Stopped.', again)
    else showTrouble(trouble, error.message, error.retry ? again : undefined)
    return undefined
  } finally {
    words.removeAttribute('aria-busy')
    if (thread === current) {
      current.running = undefined
      setBusy(false)
    }
  }
}

/** One request at a time: meanwhile the next question can be typed, but not sent. */
function setBusy(busy) {
  at('send').hidden = busy
  at('stop').hidden = !busy
  for (const button of at('examples').querySelectorAll('button')) button.disabled = busy
}

function showTrouble(element, message, again) {
  element.replaceChildren(part('p', '', message))
  if (again) {
    const button = part('button', '', 'Try again')
    button.type = 'button'
    button.addEventListener('click', () => {
      if (!thread.running) again()
    })
    element.append(button)
  }
  element.hidden = false
}

/** Shows the total time and the time of each stage. */
function showCost(element, reply) {
  const { total, ...stages } = reply.timings_ms
  const count = reply.token_ids.length
  const summary = part('summary', '', `${duration(total)}, ${count} ${count === 1 ? 'token' : 'tokens'}`)
  const spent = Object.entries(stages).filter(([, ms]) => ms > 0)
  element.replaceChildren(
    summary,
    part('p', '', spent.map(([stage, ms]) => `${stage} ${duration(ms)}`).join(', ')),
  )
  element.hidden = false
}

function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

// What the model is and what it can see.

let examples = []

async function introduce() {
  try {
    const { name, precision, about = {} } = await fetchModel()
    at('model').textContent = [name, precision].filter(Boolean).join(', ')
    examples = about.examples ?? []
    at('sees').textContent = about.sees ?? ''
    at('about').hidden = !about.sees
    const nouns = about.nouns ?? []
    at('nouns').hidden = nouns.length === 0
    at('nouns').querySelector('summary').textContent = `All ${nouns.length} things it knows by name`
    at('nouns').querySelector('p').textContent = nouns.join(', ')
    if (thread && !at('composer').hidden) showExamples()
  } catch (error) {
    if (error.locked) return askForToken(error.message)
    at('model').textContent = error.message
    if (error.retry) setTimeout(introduce, MODEL_RETRY_MS)
  }
}

// The token, for a server that requires one.

function askForToken(message) {
  at('lock-why').textContent = message
  at('lock').hidden = false
  at('token').focus()
}

at('lock').addEventListener('submit', (event) => {
  event.preventDefault()
  setToken(at('token').value.trim())
  at('token').value = ''
  at('lock').hidden = true
  introduce()
})

if (/Mac|iPhone|iPad/.test(navigator.platform)) document.querySelector('#paste-hint kbd').textContent = '⌘'
introduce()

/** @param {string} words inserted as text, never as HTML */
function part(tag, className = '', words = '') {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (words) element.textContent = words
  return element
}

/** Screen readers get a reply once and whole; on the screen it arrives in pieces. */
function announce(words) {
  at('said').textContent = words
}
