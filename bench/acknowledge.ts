// How soon Slack hears that an event came, while the model answers nobody: npx tsx bench/acknowledge.ts [events]
//
// Each event is recorded on disk before it is acknowledged. Target: p99 <= 300 ms, never 3 s (Slack then sends again).

import { doubleEngine, PNG } from '../test/serve/double.ts'
import { envelope, startSlackHarness } from '../test/slack/harness.ts'

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
  if (status !== 200) throw new Error(`Expected 200 but got ${status}.`)
  times.push(performance.now() - began)
}
for (let from = 0; from < COUNT; from += AT_ONCE) {
  await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => sendOne(from + i)))
}
times.sort((a, b) => a - b)
const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]!.toFixed(0)
console.log(
  `${COUNT} events, ${AT_ONCE} at once, the model held: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (targets: 300 ms, 3,000 ms)`,
)
process.exit()
