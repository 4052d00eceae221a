// The whole way on this machine: a signed event of Slack at the HTTP edge -> queue -> function -> model -> reply in the
// thread. Slack is the peer we did not write, SQS a double, the model the one in the box.

import { createHmac } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SQSBatchResponse } from 'aws-lambda'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pollInto, type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { doubleEngine } from '../serve/double.ts'
import { BOT_TOKEN, envelope, SECRET, type SlackStage, startSlackStage } from '../slack/stage.ts'
import { type Offline, startOffline } from './offline.ts'
import { ROOT } from './packaged.ts'

let slack: SlackStage
let sqs: SqsDouble
let offline: Offline
let state: string
let stopPolling = async () => {}
const batches: (SQSBatchResponse | undefined)[] = []

beforeAll(async () => {
  // Its own app hears of nothing that is for it; only the peer is used.
  slack = await startSlackStage({ engine: doubleEngine() })
  sqs = await startSqsDouble()
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
  offline = await startOffline({
    GLIMPSE_QUEUE: sqs.url,
    GLIMPSE_STATE: state,
    GLIMPSE_SECRETS: '',
    GLIMPSE_MODEL: join(ROOT, 'layers/built', process.arch, 'model/glimpse/model'),
    SLACK_BOT_TOKEN: BOT_TOKEN,
    SLACK_SIGNING_SECRET: SECRET,
    SLACK_API_URL: slack.responseUrl.replace(/response$/, 'api/'),
    AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    AWS_ACCESS_KEY_ID: 'a',
    AWS_SECRET_ACCESS_KEY: 'b',
  })
  stopPolling = pollInto(sqs, async (event) => {
    const answer = (await offline.invoke('answer', event)) as SQSBatchResponse
    batches.push(answer)
    return answer
  })
}, 120_000)

afterAll(async () => {
  await stopPolling()
  await offline?.stop()
  await slack?.close()
  await sqs?.close()
  await rm(state, { recursive: true, force: true })
})

/** To the edge, as Slack would; with another secret it is somebody else. */
async function send(event: Record<string, unknown>, secret = SECRET): Promise<number> {
  const body = JSON.stringify(envelope(slack.team, event))
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signature = createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex')
  const response = await fetch(`${offline.url}/slack/events`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'x-slack-request-timestamp': timestamp,
      'x-slack-signature': `v0=${signature}`,
    },
  })
  return response.status
}

const said = async (ts: string) => (await slack.thread(ts)).filter(({ user }) => user === slack.botId)

test('a picture that somebody shows the bot is described in the thread, and a question about it answered', async () => {
  const picture = await readFile(join(ROOT, 'models/demo/sunflower-basketball-watermelon.png'))
  const ts = await slack.upload(slack.ann, [picture])
  const { messages } = await slack.ann.conversations.history({
    channel: slack.channel,
    latest: ts,
    inclusive: true,
    limit: 1,
  })
  const event = {
    ...messages![0],
    type: 'message',
    subtype: 'file_share',
    text: `<@${slack.botId}>`,
    channel: slack.channel,
    channel_type: 'channel',
  }
  expect(await send(event)).toBe(200)
  await expect.poll(() => said(ts), { timeout: 30_000 }).toHaveLength(1)
  expect((await said(ts))[0]!.text).toContain('sunflower')

  const question = {
    type: 'message',
    user: slack.annId,
    text: `<@${slack.botId}> What colour is the background?`,
    ts: `${Number(ts) + 1}`,
    thread_ts: ts,
    channel: slack.channel,
    channel_type: 'channel',
  }
  expect(await send(question)).toBe(200)
  await expect.poll(() => said(ts), { timeout: 30_000 }).toHaveLength(2)
  expect((await said(ts))[1]!.text).toContain('yellow')
  await expect.poll(() => sqs.waiting()).toBe(0)
  expect(batches).toEqual([{ batchItemFailures: [] }, { batchItemFailures: [] }])

  // Sent once more, as Slack does when it did not hear in time: answered once.
  expect(await send(event)).toBe(200)
  expect(await said(ts)).toHaveLength(2)
}, 90_000)

test('what is not signed by Slack gets no further than the edge', async () => {
  const event = { type: 'message', text: 'x', ts: '1.1', channel: slack.channel, channel_type: 'channel' }
  expect(await send(event, 'another secret')).toBe(401)
  expect(sqs.waiting()).toBe(0)
})
