// Whether a request is Slack's: HMAC-SHA256 over `v0:<timestamp>:<raw body>`.
//
// Source: docs.slack.dev, "Verifying requests from Slack". A timestamp from the future is refused as well as an old one:
// a recording must not work again later.

import { createHmac, timingSafeEqual } from 'node:crypto'

/** Slack's own advice. */
const WINDOW_S = 300

/** `body` is what came over the wire, before anything read it. */
export function isSignedBySlack(
  body: Uint8Array,
  headers: { timestamp: string | null; signature: string | null },
  signingSecret: string,
  nowMs: number,
): boolean {
  const { timestamp, signature } = headers
  if (!timestamp || !signature || !/^\d{1,12}$/.test(timestamp)) return false
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > WINDOW_S) return false
  const expected = createHmac('sha256', signingSecret).update(`v0:${timestamp}:`).update(body).digest()
  const [, hex] = /^v0=([0-9a-f]{64})$/.exec(signature) ?? []
  return hex !== undefined && timingSafeEqual(Buffer.from(hex, 'hex'), expected)
}
