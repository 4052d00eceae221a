// The page's HTTP client: a request -> pieces of text, then the reply; or an error with words for the user.

/** `retry`: the same request may succeed later. `locked`: the server needs a token. */
export class RequestFailure extends Error {
  constructor(message, retry, locked = false) {
    super(message)
    this.retry = retry
    this.locked = locked
  }
}

/** Key in the session storage, which the browser clears when the tab is closed. */
const TOKEN = 'glimpse-token'

/** @param {string} token sent with all later requests */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token)
}

/** @returns {Promise<{name: string, precision: string, about?: {sees?: string, nouns?: string[], examples?: string[]}}>} */
export async function fetchModel() {
  const response = await request('v1/model')
  if (!response.ok) throw await failureOf(response)
  return response.json()
}

/** The server's limit; the model's context has room for a few. */
const MAX_TURNS = 100

/**
 * Requests a caption, or an answer when there is a question. Calls `onToken` with each piece of text.
 * @returns the whole reply
 * @throws RequestFailure; AbortError when the signal is aborted
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
  const response = await request(path, { method: 'POST', body: form, signal })
  if (!response.ok) throw await failureOf(response)
  for await (const { event, data } of events(response.body)) {
    if (event === 'token') onToken(data.text)
    if (event === 'error') throw new RequestFailure(data.error.message, data.error.retry)
    if (event === 'reply') return data
  }
  throw new RequestFailure('The connection ended before the answer was complete.', true)
}

async function request(path, init) {
  const token = sessionStorage.getItem(TOKEN)
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  try {
    return await fetch(path, { ...init, headers })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new RequestFailure(
      'Glimpse cannot be reached. See that it is still running (glimpse serve), then try again.',
      true,
    )
  }
}

async function failureOf(response) {
  const problem = await response.json().catch(() => undefined)
  const message = problem?.error?.message ?? `The server answered with status ${response.status}.`
  if (response.status === 401) return new RequestFailure(message, true, true)
  return new RequestFailure(message, problem?.error?.retry ?? response.status >= 500)
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
