// acknowledge: time until a Slack event is acknowledged while the model is blocked. npx tsx bench/acknowledge.ts [events]
//
// Each event is recorded on disk before it is acknowledged. Targets: p99 <= 300 ms, max < 3 s (Slack resends after 3 s).

import { doubleEngine, PNG } from '../test/serve/double.ts'
import { envelope, startSlackHarness } from '../test/slack/harness.ts'
import { quantile } from './traffic.ts'

const COUNT = Number(process.argv[2] ?? 200)
const AT_ONCE = 10

const engine = doubleEngine()
const slack = await startSlackHarness({ engine, maxQueue: COUNT })
const picture = await slack.upload(slack.ann, [PNG])
const { messages } = await slack.ann.conversations.history({
  channel: slack.channel,
  latest: picture,
  inclusive: true,
  limit: 1,
})
engine.hold()
const times: number[] = []
const sendOne = async (number: number) => {
  const event = {
    ...messages![0],
    type: 'message',
    subtype: 'file_share',
    text: `<@${slack.botId}>`,
    ts: `${1_000_000 + number}.000100`,
    channel: slack.channel,
    channel_type: 'channel',
  }
  const began = performance.now()
  const { status } = await slack.send(envelope(slack.team, event))
  if (status !== 200) throw new Error(`Expected status 200 for the event but got ${status}.`)
  times.push(performance.now() - began)
}
for (let from = 0; from < COUNT; from += AT_ONCE) {
  await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => sendOne(from + i)))
}
const at = (share: number) => quantile(share, times).toFixed(0)
console.log(
  `${COUNT} events, ${AT_ONCE} at once, the model blocked: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (targets: 300 ms, 3,000 ms)`,
)
process.exit()
