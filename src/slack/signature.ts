// Whether a request comes from Slack: HMAC-SHA256 over `v0:<timestamp>:<raw body>`, at most 5 minutes old.
//
// Source: docs.slack.dev, "Verifying requests from Slack". Bolt verifies the signature and the age. A timestamp in the
// future is refused too: the request could otherwise be recorded and replayed later.

import { isValidSlackRequest } from '@slack/bolt'

const WINDOW_MS = 5 * 60_000

export function signatureCheck(signingSecret: string, now: () => number = Date.now) {
  return (body: Buffer, headers: Headers): boolean => {
    const timestamp = Number(headers.get('x-slack-request-timestamp') ?? Number.NaN)
    const signature = headers.get('x-slack-signature') ?? ''
    return (
      timestamp * 1000 - now() <= WINDOW_MS &&
      isValidSlackRequest({
        signingSecret,
        body: body.toString(),
        headers: { 'x-slack-signature': signature, 'x-slack-request-timestamp': timestamp },
        nowMilliseconds: now(),
      })
    )
  }
}
