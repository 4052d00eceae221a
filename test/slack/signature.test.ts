// Which requests are accepted: Slack's published example, but no forged and no replayed request.

import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { withResolvers } from '../../src/concurrency.ts'
import { signatureCheck } from '../../src/slack/signature.ts'
import { requestReceiver } from '../../src/slack/webhook.ts'
import { measured } from '../measured.ts'
import { turns } from '../turns.ts'

/** docs.slack.dev, "Verifying requests from Slack". */
const PUBLISHED = {
  secret: '8f742231b10e8888abcd99yyyzzz85a5',
  timestamp: '1531420618',
  body: 'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
  signature: 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
}
const { secret, timestamp, body, signature } = PUBLISHED
const NOW = Number(timestamp) * 1000
interface Given {
  key?: string
  text?: string
  at?: number
  /** null: the header is absent. */
  timestamp?: string | null
  signature?: string | null
}
function accepts(given: Given = {}): boolean {
  const { key, text, at, ...sent } = { key: secret, text: body, at: NOW, timestamp, signature, ...given }
  const headers = new Headers()
  if (sent.timestamp !== null) headers.set('x-slack-request-timestamp', sent.timestamp)
  if (sent.signature !== null) headers.set('x-slack-signature', sent.signature)
  return signatureCheck(key, () => at)(Buffer.from(text), headers)
}

test("accepts Slack's published example", () => {
  expect(accepts()).toBe(true)
})

test.each<[string, Given]>([
  ['another body', { text: `${body}x` }],
  ['another secret', { key: 'other' }],
  ['no signature', { signature: null }],
  ['no timestamp', { timestamp: null }],
  ['a timestamp that is no number', { timestamp: 'NaN' }],
  ['a signature cut short', { signature: signature.slice(0, -2) }],
  ['another version', { signature: signature.replace('v0', 'v1') }],
  ['a recording from five minutes and a second ago', { at: NOW + 301_000 }],
  ['a timestamp from the future', { at: NOW - 301_000 }],
])('refuses %s', (_, given) => {
  expect(accepts(given)).toBe(false)
})

describe('over HTTP', () => {
  const received: unknown[] = []
  const receiver = requestReceiver({ signingSecret: secret, report: () => {}, now: () => NOW, graceMs: 20 })
  receiver.init({
    async processEvent({
      body,
      ack,
    }: {
      body: { fail?: boolean; silent?: boolean }
      ack: () => Promise<void>
    }) {
      received.push(body)
      if (body.fail) throw new Error('not recorded')
      if (!body.silent) await ack()
    },
  } as never)
  const send = (text: string | Uint8Array, type = 'application/json') => {
    const raw = typeof text === 'string' ? new TextEncoder().encode(text) : text
    const signed = createHmac('sha256', secret).update(`v0:${timestamp}:`).update(raw).digest('hex')
    const headers = {
      'content-type': type,
      'x-slack-request-timestamp': timestamp,
      'x-slack-signature': `v0=${signed}`,
    }
    return receiver.handle(new Request('http://x/', { method: 'POST', body: raw as BodyInit, headers }))
  }

  test('answers the check of the URL', async () => {
    const response = await send('{"type":"url_verification","challenge":"abc"}')
    expect(await response.json()).toEqual({ challenge: 'abc' })
  })

  test('answers the check of the certificate', async () => {
    expect(
      (await send('ssl_check=1&token=x', 'application/x-www-form-urlencoded; charset=utf-8')).status,
    ).toBe(200)
  })

  test('reads words in any script, from JSON, a form, and JSON in a form', async () => {
    received.length = 0
    await send('{"text":"löwe 🦁"}')
    await send(new URLSearchParams({ text: 'löwe 🦁' }).toString(), 'application/x-www-form-urlencoded')
    const payload = JSON.stringify({ text: 'löwe 🦁' })
    await send(
      new URLSearchParams({ payload }).toString(),
      'application/x-www-form-urlencoded; charset=utf-8',
    )
    expect(received).toEqual([{ text: 'löwe 🦁' }, { text: 'löwe 🦁' }, { text: 'löwe 🦁' }])
  })

  test.each([
    ['is unsigned', () => receiver.handle(new Request('http://x/', { method: 'POST', body: '{}' })), 401],
    ['is no JSON', () => send('{'), 400],
    ['is a list', () => send('[]'), 400],
    ['is no UTF-8', () => send(new Uint8Array([0x7b, 0xff, 0x7d])), 401],
    ["is larger than Slack's payloads", () => send(new Uint8Array(1024 * 1024 + 1)), 413],
    ['could not be recorded, for Slack to send it again', () => send('{"fail":true}'), 500],
    ['no listener handles', () => send('{"silent":true}'), 404],
  ])('a request that %s gets its status and is counted', async (_, sent, status) => {
    const before = await measured('glimpse_webhooks_total', { platform: 'slack' })
    expect((await sent()).status).toBe(status)
    expect(await measured('glimpse_webhooks_total', { platform: 'slack' })).toBe(before + 1)
  })
})

describe('an event', () => {
  /** Bolt acknowledges an event itself, then runs its listener, which ends with `recorded`. */
  const opened = (sleep: (ms: number) => Promise<void>) => {
    const { promise: recorded, resolve: record } = withResolvers<void>()
    const receiver = requestReceiver({ signingSecret: secret, report: () => {}, now: () => NOW, sleep })
    receiver.init({
      async processEvent({ ack }: { ack: () => Promise<void> }) {
        await ack()
        await recorded
      },
    } as never)
    const body = JSON.stringify({ type: 'event_callback', event: {} })
    const signed = createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex')
    const headers = { 'x-slack-request-timestamp': timestamp, 'x-slack-signature': `v0=${signed}` }
    let status: number | undefined
    const handled = receiver
      .handle(new Request('http://x/', { method: 'POST', body, headers }))
      .then((response) => {
        status = response.status
      })
    return { record, handled, status: () => status }
  }

  test('is acknowledged only once it is recorded', async () => {
    const { record, handled, status } = opened(() => new Promise(() => {}))
    await turns()
    expect(status()).toBeUndefined()
    record()
    await handled
    expect(status()).toBe(200)
  })

  test('that is not recorded within 3 s is not acknowledged, for Slack to send it again', async () => {
    const waits: number[] = []
    const { handled, status } = opened(async (ms) => void waits.push(ms))
    await handled
    expect(status()).toBe(503)
    expect(Math.max(...waits)).toBeLessThan(3_000)
  })
})
