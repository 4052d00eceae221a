// One run as server-sent events (HTML standard, section 9.2): `token` for each piece of text, then one `reply`
// or one `error`. The stream opens at once, so whatever the run meets afterwards is an event, not a status.

import type { Reply } from '../job/ask.ts'
import { problemOf } from './problem.ts'

/** Proxies give up on a silent connection after 30 to 60 s; a queue may keep an ask longer. */
const HEARTBEAT_MS = 15_000

export type Run = (hooks: { onToken: (text: string) => void; signal: AbortSignal }) => Promise<Reply>

/** Starts the run now; a reader who leaves aborts it. Failures go to `failed` as well as to the reader. */
export function eventStream(run: Run, request: AbortSignal, failed: (error: unknown) => void): Response {
  const gone = new AbortController()
  if (request.aborted) gone.abort()
  request.addEventListener('abort', () => gone.abort(), { once: true })
  const encoder = new TextEncoder()

  const body = new ReadableStream<Uint8Array>({
    start(out) {
      const write = (chunk: string) => {
        if (!gone.signal.aborted) out.enqueue(encoder.encode(chunk))
      }
      const send = (event: string, data: unknown) =>
        write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
      write(': taken\n\n')
      const heartbeat = setInterval(() => write(': still here\n\n'), HEARTBEAT_MS)
      run({ onToken: (text) => send('token', { text }), signal: gone.signal })
        .then(
          (reply) => send('reply', reply),
          (error: unknown) => {
            failed(error)
            send('error', problemOf(error))
          },
        )
        .finally(() => {
          clearInterval(heartbeat)
          if (!gone.signal.aborted) out.close()
        })
    },
    cancel: () => gone.abort(),
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' } })
}
