// A double of Slack's Web API and files for replays, on loopback: each method answers what a fixture says, else a plain
// success. It notes the calls that people see.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { PNG } from '../serve/double.ts'

export interface SlackWebDouble {
  origin: string
  /** Calls that people see, in order: `chat.*`, `views.*`, and `response` for posts to the response_url. */
  seen: { method: string; body: Record<string, unknown> }[]
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

export async function startSlackWeb(): Promise<SlackWebDouble> {
  const double: Omit<SlackWebDouble, 'close'> = { origin: '', seen: [], calls: [], answers: {}, files: {} }
  const plain: Record<string, () => object> = {
    'auth.test': () => IDENTITY,
    'users.info': () => ({ user: { locale: 'en-US' } }),
    'chat.postMessage': () => ({ ts: `1799999999.00000${double.seen.length}`, channel: 'C0' }),
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
    response.end(JSON.stringify({ ok: true, ...plain[method]?.(), ...answer }))
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
