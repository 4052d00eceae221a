// The page: pictures come in, are kept as a list in this browser, and one of them is shown (thread.js). Also language,
// colours, what the model can see, and the access code.

import { fetchModel, setCode } from './api.js'
import * as history from './history.js'
import { at, caption, current, draw, openThreads, part, sentenceOf, setModel, show } from './thread.js'
import { LANGUAGES, t, useLanguage } from './words.js'

/** The server's limit, checked before the upload. */
const MAX_PICTURE_BYTES = 20 * 1024 * 1024
const MODEL_RETRY_MS = 2000
const COMMAND = 'npx glimpse serve --model'

/** @type {import('./thread.js').Thread[]} */
let threads = []
/** The list item of each thread. */
const items = new WeakMap()
let about = {}

// Pictures are chosen, taken, dropped or pasted.

at('pick').addEventListener('click', () => at('file').click())
at('take').addEventListener('click', () => at('camera').click())
for (const id of ['file', 'camera']) {
  at(id).addEventListener('change', (event) => {
    const files = [...event.target.files]
    event.target.value = ''
    add(files)
  })
}
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files ?? [])]
  if (files.length === 0) return
  event.preventDefault()
  add(files)
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
  const files = [...(event.dataTransfer?.files ?? [])]
  if (files.length > 0) add(files)
  else notify(t.problem.no_file)
})

for (const button of at('samples').querySelectorAll('button')) {
  button.addEventListener('click', async () => {
    const known = threads.find(({ sample }) => sample === button.value)
    if (known) return open(known)
    const response = await fetch(`samples/${button.value}.png`).catch(() => undefined)
    if (!response?.ok) return notify(t.problem.unreachable)
    open(addThread(await response.blob(), t.samples[button.value], button.value))
  })
  button.firstChild.addEventListener('error', () => {
    button.parentElement.hidden = true
  })
}

/** Adds pictures and shows the first. What is none is named, and changes nothing else. */
async function add(files) {
  at('notice').hidden = true
  /** Names by problem. */
  const wrong = {}
  let first
  for (const file of files) {
    const problem = await problemOf(file)
    if (problem) {
      wrong[problem] = [...(wrong[problem] ?? []), file.name]
      continue
    }
    // A copy: the file may change or go away before the last question.
    const image = new Blob([await file.arrayBuffer()], { type: file.type })
    const thread = addThread(image, file.name || t.yours)
    if (!first) open(thread)
    first ??= thread
  }
  const messages = Object.entries(wrong).map(([problem, names]) => sentenceOf(problem, names.join(', ')))
  if (messages.length > 0) notify(messages.join(' '))
}

async function problemOf(file) {
  if (file.type !== '' && !file.type.startsWith('image/')) return 'not_a_picture'
  if (file.size > MAX_PICTURE_BYTES) return 'too_large'
  // A folder that is dropped has a size but no bytes.
  const start = await file
    .slice(0, 1)
    .arrayBuffer()
    .catch(() => undefined)
  return start?.byteLength ? undefined : 'not_a_picture'
}

/** Adds a picture behind the one that is shown, and requests its caption. */
function addThread(image, name, sample) {
  const id = Math.max(Date.now(), ...threads.map((thread) => thread.id + 1))
  const turn = { text: '', state: 'running' }
  const thread = enlist({ id, name, sample, image, alt: '', caption: turn, turns: [] })
  caption(thread)
  return thread
}

// The list.

function enlist(record) {
  const thread = { ...record, url: URL.createObjectURL(record.image), draft: '' }
  const item = part('li')
  const button = part('button')
  button.type = 'button'
  const image = part('img')
  Object.assign(image, { alt: '', src: thread.url, decoding: 'async' })
  // In place of a picture that the browser cannot show.
  image.addEventListener('error', () =>
    image.replaceWith(part('span', 'small', thread.name.split('.').pop())),
  )
  button.append(image)
  button.addEventListener('click', () => open(thread))
  item.append(button)
  items.set(thread, item)
  threads.push(thread)
  at('thumbs').append(item)
  drawList()
  return thread
}

function drawList() {
  at('list').hidden = threads.length === 0
  for (const thread of threads) {
    const button = items.get(thread).firstChild
    button.setAttribute('aria-label', thread.alt || thread.name)
    button.title = thread.alt || thread.name
    button.toggleAttribute('aria-current', thread === current())
    if (thread === current()) button.setAttribute('aria-current', 'true')
    button.classList.toggle('busy', thread.stop !== undefined)
  }
}

/** @param {import('./thread.js').Thread | undefined} thread undefined: the start */
function open(thread) {
  at('notice').hidden = true
  at('start').hidden = thread !== undefined
  document.body.classList.toggle('asking', thread !== undefined)
  show(thread)
  drawList()
  if (thread) items.get(thread).scrollIntoView({ block: 'nearest', inline: 'nearest' })
  scrollTo(0, 0)
}

at('add').addEventListener('click', () => {
  open(undefined)
  at('pick').focus({ preventScroll: true })
})

function forget(thread) {
  thread.stop?.abort()
  URL.revokeObjectURL(thread.url)
  items.get(thread).remove()
  threads = threads.filter((other) => other !== thread)
  history.remove(thread.id).catch(() => {})
  if (thread === current()) open(threads.at(-1))
  drawList()
}

at('remove').addEventListener('click', () => {
  forget(current())
  if (!current()) at('pick').focus({ preventScroll: true })
})

at('clear').addEventListener('click', () => {
  at('clear-ask').textContent = t.clearAsk(threads.length)
  at('clearing').showModal()
})
at('clearing').addEventListener('close', () => {
  if (at('clearing').returnValue !== 'yes') return
  open(undefined)
  for (const thread of threads) forget(thread)
  history.clear().catch(() => {})
  at('pick').focus({ preventScroll: true })
})

let isRoomGone = false
/** The threads whose picture is kept. */
const kept = new WeakSet()
openThreads({
  changed(thread) {
    drawList()
    if (!threads.includes(thread)) return
    const { id, name, sample, image, alt, caption, turns } = thread
    // What still runs cannot go on after a reload.
    const entryOf = ({ wait, ...entry }) =>
      entry.state === 'running' ? { ...entry, state: 'stopped', problem: 'stopped' } : entry
    const record = { name, sample, alt, caption: entryOf(caption), turns: turns.map(entryOf) }
    history.save(id, kept.has(thread) ? undefined : image, record).catch(() => {
      if (!isRoomGone) notify(t.problem.no_room)
      isRoomGone = true
    })
    kept.add(thread)
  },
  locked: askForCode,
  refused(thread) {
    if (!threads.includes(thread)) return
    forget(thread)
    notify(sentenceOf(thread.caption.problem, thread.name))
  },
})

/** Says what is wrong, above all else. What is shown stays. */
function notify(message) {
  at('notice').firstElementChild.textContent = message
  at('notice').hidden = false
  at('notice').scrollIntoView({ block: 'nearest' })
}
at('notice').lastElementChild.addEventListener('click', () => {
  at('notice').hidden = true
  at(current() ? 'question' : 'pick').focus({ preventScroll: true })
})

// Language and colours, kept in this browser.

const setting = (name) => {
  try {
    return localStorage.getItem(`glimpse-${name}`)
  } catch {
    return null
  }
}
const keep = (name, value) => {
  try {
    localStorage.setItem(`glimpse-${name}`, value)
  } catch {
    // It holds until the page is closed.
  }
}

at('language').append(
  ...Object.entries(LANGUAGES).map(([code, { name }]) => {
    const option = part('option', '', name)
    Object.assign(option, { value: code, lang: code })
    return option
  }),
)
at('language').addEventListener('change', (event) => {
  keep('language', event.target.value)
  speak(event.target.value)
})
at('theme').value = document.documentElement.dataset.theme ?? 'auto'
at('theme').addEventListener('change', (event) => {
  keep('theme', event.target.value)
  document.documentElement.dataset.theme = event.target.value
})

function speak(code) {
  useLanguage(code)
  at('language').value = code
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = t[element.dataset.t]
  for (const element of document.querySelectorAll('[data-label]'))
    element.setAttribute('aria-label', t[element.dataset.label])
  for (const element of document.querySelectorAll('[data-placeholder]'))
    element.placeholder = t[element.dataset.placeholder]
  for (const button of at('samples').querySelectorAll('button'))
    button.firstChild.alt = t.samples[button.value]
  for (const id of ['add', 'remove']) at(id).title = t[id]
  at('paste').textContent = t.paste(/Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : 'Ctrl')
  drawAbout()
  draw()
}

// What the model is and what it can see.

function drawAbout() {
  const code = document.documentElement.lang
  const sees = about.sees_in?.[code]
  at('about').hidden = !about.sees
  for (const element of document.querySelectorAll('.sees')) {
    element.textContent = sees ?? about.sees ?? ''
    element.lang = sees ? code : 'en'
    if (element.parentElement.id === '') element.parentElement.hidden = !about.sees
  }
  const nouns = about.nouns ?? []
  at('nouns').hidden = nouns.length === 0
  at('nouns').firstElementChild.textContent = t.nouns(nouns.length)
  at('nouns').lastElementChild.textContent = nouns.join(', ')
  for (const element of document.querySelectorAll('.larger')) {
    element.hidden = !about.photographs
    element.lastElementChild.textContent = `${COMMAND} ${about.photographs}`
  }
}

async function introduce() {
  try {
    const { name, about: card = {} } = await fetchModel()
    about = card
    drawAbout()
    setModel({ name, examples: about.examples })
  } catch (error) {
    if (['locked', 'wrong_code'].includes(error.problem)) return askForCode(error.problem)
    at('about').hidden = false
    at('about').querySelector('.sees').textContent = t.problem[error.problem]
    setTimeout(introduce, MODEL_RETRY_MS)
  }
}

// The access code, for a server that has one.

function askForCode(problem) {
  at('lock-why').textContent = t.problem[problem]
  at('lock').hidden = false
  at('code').focus()
}

at('lock').addEventListener('submit', (event) => {
  event.preventDefault()
  setCode(at('code').value.trim())
  at('code').value = ''
  at('lock').hidden = true
  introduce()
})

const wanted = [setting('language'), ...navigator.languages.map((tag) => tag.split('-')[0])]
speak(wanted.find((code) => Object.hasOwn(LANGUAGES, code)) ?? 'en')
introduce()
for (const record of await history.load()) kept.add(enlist(record))
