// The page's HTTP client: a request -> the text so far, again and again, then the reply; or a Failure with the key of a
// sentence in words.js. At most two requests run at a time. What passes by itself is tried again.

/** More would only wait at the server, where others wait too. */
const MAX_RUNNING = 2
/** Between two tries when the server does not say: the first, and the longest, in seconds. */
const WAIT_S = 2
const MAX_WAIT_S = 10
/** The server's limit; the model's context has room for a few. */
const MAX_TURNS = 100
/** Key in the session storage, which the browser clears when the tab is closed. */
const CODE = 'glimpse-token'

/** Error codes of the server -> keys of `problem` in words.js. Others go by their status. */
const PROBLEMS = {
  not_a_picture: 'not_a_picture',
  damaged_picture: 'damaged',
  picture_too_large: 'too_large',
  question_too_long: 'question_too_long',
  text_too_long: 'question_too_long',
  busy: 'busy',
  deadline: 'deadline',
  bad_token: 'wrong_code',
  no_task: 'cannot',
}
const STATUSES = {
  401: 'locked',
  403: 'refused',
  408: 'ended',
  413: 'too_large',
  415: 'not_a_picture',
  429: 'busy',
  502: 'unreachable',
  503: 'starting',
  504: 'deadline',
}
/** What passes by itself, and how often it is tried. A large model loads for minutes; what breaks off costs the server time. */
const MAX_TRIES = { busy: 30, starting: 60, unreachable: 60, offline: 60, ended: 3 }

export class Failure extends Error {
  /**
   * @param {string} problem key of `problem` in words.js
   * @param {string} message what the server answered; it is written for the person who runs the server
   * @param {number} [waitS] when to try again, as the server says
   */
  constructor(problem, message = '', waitS = undefined) {
    super(message)
    this.problem = problem
    this.waitS = waitS
  }
}

let code = ''
try {
  code = sessionStorage.getItem(CODE) ?? ''
} catch {
  // The browser keeps nothing for this page.
}

/** @param {string} value sent with all later requests */
export function setCode(value) {
  code = value
  try {
    sessionStorage.setItem(CODE, code)
  } catch {
    // It holds until the page is closed.
  }
}

/** @returns {Promise<{name: string, about?: {sees?: string, sees_in?: Record<string, string>, nouns?: string[], examples?: string[], photographs?: string}}>} */
export async function fetchModel() {
  const response = await request('v1/model')
  if (!response.ok) throw await failureOf(response)
  return response.json()
}

/**
 * Requests a caption, or an answer when there is a question. Waits its turn, and tries again what passes by itself.
 * @param onText called with the text so far
 * @param onWait called with `{problem, seconds, now}` before each further try; `now()` ends the wait
 * @returns the whole reply
 * @throws Failure; the reason of `signal` when that is aborted
 */
export async function fetchReply(asked, { signal, onText, onWait }) {
  await takeTurn(signal, asked.question !== undefined)
  try {
    for (let tries = 1; ; tries++) {
      try {
        return await stream(asked, signal, onText)
      } catch (error) {
        if (!(tries < MAX_TRIES[error.problem])) throw error
        const waitS = error.waitS ?? Math.min(WAIT_S * tries, MAX_WAIT_S)
        await pause(error.problem, waitS, signal, onWait)
      }
    }
  } finally {
    endTurn()
  }
}

let running = 0
/** Starts each waiting request, in order. */
const queue = []

/** @param isFirst whether somebody waits for it: a question goes before the captions of further pictures */
function takeTurn(signal, isFirst) {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const start = () => {
      signal.removeEventListener('abort', leave)
      running++
      resolve()
    }
    const leave = () => {
      queue.splice(queue.indexOf(start), 1)
      reject(signal.reason)
    }
    if (running < MAX_RUNNING) return start()
    signal.addEventListener('abort', leave)
    if (isFirst) queue.unshift(start)
    else queue.push(start)
  })
}

function endTurn() {
  running--
  queue.shift()?.()
}

/** Ends after the seconds, when the browser is online again, and by `now`. */
function pause(problem, seconds, signal, onWait) {
  return new Promise((resolve, reject) => {
    const end = (settle) => () => {
      clearTimeout(timer)
      removeEventListener('online', now)
      signal.removeEventListener('abort', stop)
      settle()
    }
    const now = end(resolve)
    const stop = end(() => reject(signal.reason))
    const timer = setTimeout(now, seconds * 1000)
    addEventListener('online', now)
    signal.addEventListener('abort', stop)
    onWait({ problem, seconds, now })
  })
}

async function stream({ image, question, history }, signal, onText) {
  const form = new FormData()
  form.set('image', image)
  form.set('stream', 'true')
  if (question) {
    form.set('question', question)
    form.set('history', JSON.stringify(history.slice(-MAX_TURNS)))
  }
  const path = question ? 'v1/answer' : 'v1/caption'
  const response = await request(path, { method: 'POST', body: form, signal })
  if (!response.ok) throw await failureOf(response)
  let text = ''
  for await (const { event, data } of events(response.body)) {
    if (event === 'token') {
      text = (text + data.text).trimStart()
      onText(text)
    }
    if (event === 'error') throw failureFrom(data, data.error.retry ? 503 : 500)
    if (event === 'reply') return data
  }
  throw new Failure('ended')
}

async function request(path, init) {
  const headers = code ? { authorization: `Bearer ${code}` } : {}
  try {
    return await fetch(path, { ...init, headers })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new Failure(navigator.onLine ? 'unreachable' : 'offline', String(error.message))
  }
}

async function failureOf(response) {
  const body = await response.json().catch(() => undefined)
  const wait = Number.parseInt(response.headers.get('retry-after') ?? '', 10)
  return failureFrom(body, response.status, Number.isNaN(wait) ? undefined : wait)
}

function failureFrom(body, status, waitS = undefined) {
  const { code, message = `HTTP ${status}`, request_id } = body?.error ?? {}
  const problem = PROBLEMS[code] ?? STATUSES[status] ?? 'internal'
  return new Failure(problem, [message, request_id].filter(Boolean).join(' '), waitS)
}

/** The server-sent events of a body (HTML standard, section 9.2), in the subset that the server sends. */
async function* events(body) {
  let rest = ''
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (error.name === 'AbortError') throw error
      return { done: true, value: undefined }
    })
    if (done) return
    const blocks = (rest + value).split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const field = (name) =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2)
      if (field('event')) yield { event: field('event'), data: JSON.parse(field('data')) }
    }
  }
}
