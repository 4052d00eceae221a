// One run as server-sent events: those of each piece of text, then those of the result or of the error (response-form.ts).
// The stream opens at once with status 200, so a later error is an event.

import { SSEStreamingApi } from 'hono/streaming'
import type { BaseResult } from '../engine/request.ts'
import type { ResponseForm, ServerEvent } from './response-form.ts'

/** Proxies close a silent connection after 30 to 60 s; a request may wait longer in the queue. */
const HEARTBEAT_MS = 15_000

export type Run = (hooks: { onToken: (text: string) => void; signal: AbortSignal }) => Promise<BaseResult>

/** Starts the run. A client that disconnects aborts it. Errors go to `failed` and to the client. */
export function eventStream(
  run: Run,
  form: ResponseForm,
  request: AbortSignal,
  failed: (error: unknown) => void,
): Response {
  const { readable, writable } = new TransformStream()
  const out = new SSEStreamingApi(writable, readable)
  const disconnected = new AbortController()
  out.onAbort(() => disconnected.abort())
  if (request.aborted) out.abort()
  request.addEventListener('abort', () => out.abort(), { once: true })

  let sent = Promise.resolve()
  const send = (events: readonly ServerEvent[]) => {
    for (const event of events) sent = sent.then(() => out.writeSSE(event))
    return sent
  }
  void out.write(': accepted\n\n')
  const heartbeat = setInterval(() => out.write(': waiting\n\n'), HEARTBEAT_MS)
  run({ onToken: (text) => void send(form.token(text)), signal: disconnected.signal })
    .finally(() => clearInterval(heartbeat))
    .then(
      (reply) => send(form.reply(reply)),
      (error: unknown) => {
        failed(error)
        return send(form.error(error))
      },
    )
    .finally(() => out.close())
  const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }
  return new Response(out.responseReadable, { headers })
}
