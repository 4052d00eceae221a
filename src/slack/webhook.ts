// Slack over HTTP: a Request comes in, Bolt's listeners run, a Response goes out. The same function stands in a server, a
// Lambda and a test, which Bolt's own receivers do not: they want a socket, or fail on what API Gateway makes of a body.
// Over a connection from here Bolt's receiver does, with its acknowledgement put off until what came is recorded.

import type { App, Receiver, ReceiverEvent } from '@slack/bolt'
import { readBody } from '../body.ts'
import { countedWebhook } from '../chat/webhook.ts'
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
  /** Another in tests. */
  sleep?: (ms: number) => Promise<void>
}

export const GRACE_MS = 250
/** Slack gives up after 3 s and sends it again. */
const ACK_DEADLINE_MS = 2_800

export function requestReceiver(options: ReceiverOptions): RequestReceiver {
  const { signingSecret, graceMs = GRACE_MS, report, now = Date.now, sleep = wait } = options
  let app: App | undefined

  return {
    init(bolt) {
      app = bolt
    },
    start: async () => undefined,
    stop: async () => undefined,
    handle: countedWebhook('slack', async (request) => {
      const raw = await readBody(request)
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
      const { headers: sent } = request
      const event = {
        body,
        retryNum: Number(sent.get('x-slack-retry-num')) || undefined,
        retryReason: sent.get('x-slack-retry-reason') ?? undefined,
      }
      const outcome = await runListeners(app!, event, graceMs, report, sleep)
      return outcome.kind === 'acknowledged'
        ? responseOf(outcome.answer)
        : new Response(null, STATUS[outcome.kind])
    }),
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

type AckResult = { kind: 'acknowledged'; answer: unknown } | { kind: 'unheard' | 'failed' | 'late' }

const STATUS = { unheard: { status: 404 }, failed: { status: 500 }, late: { status: 503 } }

/**
 * Runs the listeners; the first of these is the outcome: all ended, acknowledged a while ago, out of time. So what came is
 * recorded before Slack hears that it did, although Bolt acknowledges an event before any listener.
 */
export function runListeners(
  app: App,
  event: Omit<ReceiverEvent, 'ack'>,
  graceMs: number,
  report: (error: unknown) => void,
  sleep: (ms: number) => Promise<void>,
): Promise<AckResult> {
  return new Promise((resolve) => {
    let acknowledged: AckResult | undefined
    const ack = async (answer?: unknown) => {
      const outcome: AckResult = { kind: 'acknowledged', answer }
      acknowledged = outcome
      void sleep(graceMs).then(() => resolve(outcome))
    }
    void sleep(ACK_DEADLINE_MS).then(() => resolve({ kind: 'late' }))
    app.processEvent({ ...event, ack }).then(
      () => resolve(acknowledged ?? { kind: 'unheard' }),
      (error: unknown) => {
        // What came may not be recorded: Slack shall send it again.
        report(error)
        resolve({ kind: 'failed' })
      },
    )
  })
}

function responseOf(response: unknown): Response {
  if (response === undefined || response === null || response === '') return new Response(null)
  return typeof response === 'string' ? new Response(response) : Response.json(response)
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}
