// Slack over HTTP: a Request comes in, Bolt's listeners run, a Response goes out. The same function stands in a server, a
// Lambda and a test, which Bolt's own receivers do not: they want a socket, or fail on what API Gateway makes of a body.

import type { App, Receiver, ReceiverEvent } from '@slack/bolt'
import { readSignedBody } from '../chat/body.ts'
import { isSignedBySlack } from './signature.ts'

export interface RequestReceiver extends Receiver {
  handle(request: Request): Promise<Response>
}

export interface ReceiverOptions {
  signingSecret: string
  /**
   * How long the answer waits, once acknowledged, for listeners to end: what they record is then safe before Slack is
   * told that it came. On Lambda, which freezes after the answer, close to Slack's 3 s.
   */
  graceMs?: number
  report: (error: unknown) => void
  now?: () => number
}

const GRACE_MS = 250
/** Slack gives up after 3 s and sends it again. */
const GIVE_UP_MS = 2_800

export function requestReceiver(options: ReceiverOptions): RequestReceiver {
  const { signingSecret, graceMs = GRACE_MS, report, now = Date.now } = options
  let app: App | undefined

  /** The first of these is the answer: all listeners ended, acknowledged a while ago, out of time. */
  const run = (body: Record<string, unknown>, headers: Headers): Promise<Response> =>
    new Promise((resolve) => {
      let acknowledged: Response | undefined
      const event: ReceiverEvent = {
        body,
        retryNum: Number(headers.get('x-slack-retry-num')) || undefined,
        retryReason: headers.get('x-slack-retry-reason') ?? undefined,
        async ack(response) {
          const answer = responseOf(response)
          acknowledged = answer
          after(graceMs, () => resolve(answer))
        },
      }
      after(GIVE_UP_MS, () => resolve(new Response(null, { status: 503 })))
      app!.processEvent(event).then(
        () => resolve(acknowledged ?? new Response(null, { status: 404 })),
        (error: unknown) => {
          // What came may not be recorded: Slack shall send it again.
          report(error)
          resolve(new Response(null, { status: 500 }))
        },
      )
    })

  return {
    init(bolt) {
      app = bolt
    },
    start: async () => undefined,
    stop: async () => undefined,
    async handle(request) {
      const raw = await readSignedBody(request)
      if (!raw) return new Response(null, { status: 413 })
      const headers = {
        timestamp: request.headers.get('x-slack-request-timestamp'),
        signature: request.headers.get('x-slack-signature'),
      }
      if (!isSignedBySlack(raw, headers, signingSecret, now())) return new Response(null, { status: 401 })
      const body = parseBody(raw, request.headers.get('content-type') ?? '')
      if (!body) return new Response(null, { status: 400 })
      if (body['ssl_check'] === '1') return new Response(null)
      if (body['type'] === 'url_verification') return Response.json({ challenge: body['challenge'] })
      return await run(body, request.headers)
    },
  }
}

/** JSON (events), a form (slash commands), or a form around JSON (buttons, shortcuts, modals). */
function parseBody(raw: Uint8Array, contentType: string): Record<string, unknown> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(raw)
    if (!/^application\/x-www-form-urlencoded\b/i.test(contentType)) return objectOf(JSON.parse(text))
    const form = Object.fromEntries(new URLSearchParams(text))
    return form['payload'] === undefined ? form : objectOf(JSON.parse(form['payload']))
  } catch {
    return undefined
  }
}

function objectOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
}

function responseOf(response: unknown): Response {
  if (response === undefined || response === null || response === '') return new Response(null)
  return typeof response === 'string' ? new Response(response) : Response.json(response)
}

function after(ms: number, work: () => void): void {
  setTimeout(work, ms).unref()
}
