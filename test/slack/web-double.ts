// A double of Slack's Web API and files for replays, on loopback: each method answers what a fixture says, else a plain
// success. It notes the calls that people see, and remembers what was posted. A token of the form `xoxb-T1` is of an
// installation of its own: team T1, bot user T1BOT.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { PNG } from '../serve/double.ts'

export interface SlackWebDouble {
  origin: string
  /** Calls that people see, in order: `chat.*`, `views.*`, and `response` for posts to the response_url. */
  seen: { method: string; body: Record<string, unknown> }[]
  /** The messages that are posted and not deleted. */
  visible: { ts: string; user: string; [field: string]: unknown }[]
  /** All calls and downloads in order. */
  calls: string[]
  /** Answers by method. A list is used up in order; its last answer stays. */
  answers: Record<string, object | object[]>
  /** Contents of files by path; of others it is a PNG. */
  files: Record<string, string>
  close(): void
}

const SEEN = /^(chat\.|views\.|response$)/
const IDENTITY = { user_id: 'U0BOT', bot_id: 'B0BOT', team_id: 'T0HOME', user: 'glimpse', team: 'Home' }

/** Bolt sends a form, in which objects are JSON. */
function parsed(body: Record<string, string>): Record<string, string> {
  const value = (text: string) => (/^[[{]/.test(text) ? JSON.parse(text) : text)
  return Object.fromEntries(Object.entries(body).map(([name, text]) => [name, value(text)]))
}

export async function startSlackWeb(): Promise<SlackWebDouble> {
  const double: Omit<SlackWebDouble, 'close'> = {
    origin: '',
    seen: [],
    visible: [],
    calls: [],
    answers: {},
    files: {},
  }
  const plain: Record<string, (body: Record<string, string>, team?: string) => object> = {
    'auth.test': (_, team) =>
      team ? { ...IDENTITY, user_id: `${team}BOT`, bot_id: `B${team}`, team_id: team } : IDENTITY,
    'users.info': ({ user = '' }) => ({ user: { locale: 'en-US', is_bot: user.endsWith('BOT') } }),
    'chat.postMessage'(body, team = 'U0') {
      const ts = `1799999999.00000${double.seen.length}`
      double.visible.push({ ...body, ts, user: `${team}BOT`, bot_id: `B${team}` })
      return { ts, channel: 'C0' }
    },
    'chat.delete'({ ts }) {
      double.visible = double.visible.filter((each) => each.ts !== ts)
      return {}
    },
    'conversations.replies': ({ ts }) => ({
      messages: double.visible.filter(({ thread_ts }) => thread_ts === ts),
    }),
    'conversations.open': () => ({ channel: { id: 'D0OPENED' } }),
  }
  const server = createServer(async (request, response) => {
    const raw = await text(request)
    const path = new URL(request.url!, 'http://double').pathname
    const method = path.replace(/^\/api\//, '').replace(/^\//, '')
    double.calls.push(method)
    if (path.startsWith('/files/')) {
      if (request.headers.authorization === undefined) return void response.writeHead(302).end()
      return void response.end(double.files[path] ?? PNG)
    }
    const isJson = request.headers['content-type']?.includes('json')
    const body = isJson ? JSON.parse(raw) : Object.fromEntries(new URLSearchParams(raw))
    if (SEEN.test(method)) double.seen.push({ method, body: { thread_ts: null, ...body } })
    const given = double.answers[method]
    const answer = Array.isArray(given) ? (given.length > 1 ? given.shift() : given[0]) : given
    response.writeHead(200, { 'content-type': 'application/json' })
    const team = /^Bearer xoxb-(T\w+)$/.exec(request.headers.authorization ?? '')?.[1]
    response.end(JSON.stringify({ ok: true, ...plain[method]?.(parsed(body), team), ...answer }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  double.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return Object.assign(double, {
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
}
