// One run as server-sent events (HTML standard, section 9.2): `token` for each piece of text, then one `reply`
// or one `error`. The stream opens at once with status 200, so a later error is an event.

import { SSEStreamingApi } from 'hono/streaming'
import type { BaseResult } from '../engine/request.ts'
import { problemOf } from './problem.ts'

/** Proxies close a silent connection after 30 to 60 s; a request may wait longer in the queue. */
const HEARTBEAT_MS = 15_000

export type Run = (hooks: { onToken: (text: string) => void; signal: AbortSignal }) => Promise<BaseResult>

/** Starts the run. A client that disconnects aborts it. Errors go to `failed` and to the client. */
export function eventStream(run: Run, request: AbortSignal, failed: (error: unknown) => void): Response {
  const { readable, writable } = new TransformStream()
  const out = new SSEStreamingApi(writable, readable)
  const disconnected = new AbortController()
  out.onAbort(() => disconnected.abort())
  if (request.aborted) out.abort()
  request.addEventListener('abort', () => out.abort(), { once: true })

  const send = (event: string, data: unknown) => out.writeSSE({ event, data: JSON.stringify(data) })
  void out.write(': accepted\n\n')
  const heartbeat = setInterval(() => out.write(': waiting\n\n'), HEARTBEAT_MS)
  run({ onToken: (text) => void send('token', { text }), signal: disconnected.signal })
    .finally(() => clearInterval(heartbeat))
    .then(
      (reply) => send('reply', reply),
      (error: unknown) => {
        failed(error)
        return send('error', problemOf(error))
      },
    )
    .finally(() => out.close())
  const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }
  return new Response(out.responseReadable, { headers })
}
