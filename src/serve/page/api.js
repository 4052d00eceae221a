// The server's side of the page: one ask as a stream of text pieces, and errors a person can act on.

/** What went wrong, in words; `retry` when the same may work in a moment, `locked` when it takes a token first. */
export class Trouble extends Error {
  constructor(message, retry, locked = false) {
    super(message)
    this.retry = retry
    this.locked = locked
  }
}

/** Kept until the tab is closed. */
const TOKEN = 'glimpse-token'

/** @param {string} token sent with all that is asked from now on */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token)
}

/** @returns {Promise<{name: string, precision: string, about?: {sees?: string, nouns?: string[], examples?: string[]}}>} */
export async function fetchModel() {
  const response = await reach('v1/model')
  if (!response.ok) throw await troubleOf(response)
  return response.json()
}

/** The endpoint takes no more; the model reads the last few at best. */
const MAX_TURNS = 100

/**
 * Asks for a caption, or an answer when there is a question; calls `onToken` with each piece of text.
 * @returns the whole Reply. Throws Trouble, or AbortError when the signal was aborted.
 */
export async function fetchReply({ image, question, history, signal, onToken }) {
  const form = new FormData()
  form.set('image', image)
  form.set('stream', 'true')
  if (question) {
    form.set('question', question)
    form.set('history', JSON.stringify(history.slice(-MAX_TURNS)))
  }
  const path = question ? 'v1/answer' : 'v1/caption'
  const response = await reach(path, { method: 'POST', body: form, signal })
  if (!response.ok) throw await troubleOf(response)
  for await (const { event, data } of events(response.body)) {
    if (event === 'token') onToken(data.text)
    if (event === 'error') throw new Trouble(data.error.message, data.error.retry)
    if (event === 'reply') return data
  }
  throw new Trouble('The connection ended before the answer was complete.', true)
}

async function reach(path, init) {
  const token = sessionStorage.getItem(TOKEN)
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  try {
    return await fetch(path, { ...init, headers })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new Trouble(
      'Glimpse cannot be reached. See that it is still running (glimpse serve), then try again.',
      true,
    )
  }
}

async function troubleOf(response) {
  const problem = await response.json().catch(() => undefined)
  const message = problem?.error?.message ?? `The server answered with status ${response.status}.`
  if (response.status === 401) return new Trouble(message, true, true)
  return new Trouble(message, problem?.error?.retry ?? response.status >= 500)
}

/** Server-sent events out of a body (HTML standard, section 9.2), as far as our server uses them. */
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
