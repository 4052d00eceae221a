// A signed HTTP request from Slack -> Bolt's listeners -> the response. A server, a Lambda function and a test use the
// same function.
//
// Bolt's own receivers do not fit: they need a Node socket, or cannot parse bodies as API Gateway delivers them. They also
// acknowledge an event before its listeners have recorded it.

import { setTimeout } from 'node:timers/promises'
import type { App, Receiver, ReceiverEvent } from '@slack/bolt'
import { z } from 'zod'
import { signedWebhook } from '../chat/webhook.ts'
import { UpstreamError } from '../errors.ts'
import { signatureCheck } from './signature.ts'

export interface RequestReceiver extends Receiver {
  handle(request: Request): Promise<Response>
}

interface ReceiverOptions {
  signingSecret: string
  /**
   * Milliseconds for which the response to an interaction, once its listener has acknowledged it, waits for what the listener
   * does after that. Default 250. Lambda freezes after the response and needs almost Slack's 3 s.
   */
  graceMs?: number
  report: (error: unknown) => void
  now?: () => number
  /** Replaced in tests. */
  sleep?: (ms: number) => Promise<void>
}

const GRACE_MS = 250
const RATE_LIMITED =
  'Slack sent more than 30,000 events within an hour and leaves some out (app_rate_limited). ' +
  'Remove the app from channels that do not need it.'
/** Slack stops waiting after 3 s and sends the event again. */
const ACK_DEADLINE_MS = 2_800

export function requestReceiver(options: ReceiverOptions): RequestReceiver {
  const isSigned = signatureCheck(options.signingSecret, options.now)
  let app: App | undefined

  return {
    init(bolt) {
      app = bolt
    },
    start: async () => undefined,
    stop: async () => undefined,
    handle: signedWebhook('slack', isSigned, async (text, headers) => {
      const body = parseBody(text, headers.get('content-type') ?? '')
      if (!body) return new Response(null, { status: 400 })
      if (body['ssl_check'] === '1') return new Response(null)
      if (body['type'] === 'url_verification') return Response.json({ challenge: body['challenge'] })
      if (body['type'] === 'app_rate_limited') {
        options.report(new UpstreamError('slack_busy', RATE_LIMITED))
        return new Response(null)
      }
      const event = {
        body,
        retryNum: Number(headers.get('x-slack-retry-num')) || undefined,
        retryReason: headers.get('x-slack-retry-reason') ?? undefined,
      }
      const { status, response } = await runListeners(app!, event, options)
      if (status !== 200 || (response ?? '') === '') return new Response(null, { status })
      return typeof response === 'string' ? new Response(response) : Response.json(response)
    }),
  }
}

const bodySchema = z.record(z.string(), z.unknown())

/** Formats: JSON (events), a form (slash commands), or a form with JSON in it (buttons, shortcuts, modals). */
function parseBody(text: string, contentType: string): Record<string, unknown> | undefined {
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(contentType)
  const form: Record<string, string> = isForm
    ? Object.fromEntries(new URLSearchParams(text))
    : { payload: text }
  try {
    return form['payload'] === undefined ? form : bodySchema.parse(JSON.parse(form['payload']))
  } catch {
    return undefined
  }
}

interface AckResult {
  /** 200: acknowledged with `response`. 404: no listener acknowledged. 500: a listener failed. 503: too late. */
  status: 200 | 404 | 500 | 503
  response?: unknown
}

/**
 * Runs the listeners of an event or an interaction. Ends when all listeners have ended, or at Slack's deadline. Then an event
 * is not acknowledged and Slack sends it again: Bolt acknowledges it before its listeners have recorded it. An
 * interaction ends `graceMs` after its listener has acknowledged it, at the latest.
 */
export function runListeners(
  app: App,
  event: Omit<ReceiverEvent, 'ack'>,
  { graceMs = GRACE_MS, report, sleep = wait }: Omit<ReceiverOptions, 'signingSecret'>,
): Promise<AckResult> {
  return new Promise((resolve) => {
    let result: AckResult = { status: 404 }
    const isInteraction = event.body['type'] !== 'event_callback'
    const ack = async (response?: unknown) => {
      result = { status: 200, response }
      if (isInteraction) void sleep(graceMs).then(() => resolve(result))
    }
    void sleep(ACK_DEADLINE_MS).then(() => resolve({ status: 503 }))
    app.processEvent({ ...event, ack }).then(
      () => resolve(result),
      (error: unknown) => {
        // The event may not be recorded: a failure makes Slack send it again.
        report(error)
        resolve({ status: 500 })
      },
    )
  })
}

const wait = (ms: number) => setTimeout(ms, undefined, { ref: false })
