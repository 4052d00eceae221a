// The packaged functions from end to end: signed Slack event -> function `slack` -> queue -> function `answer` -> model ->
// reply in the thread. Slack is emulate (a third-party emulator), SQS a double, the model the embedded one in its layer.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SQSBatchResponse } from 'aws-lambda'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pollInto, type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { doubleEngine } from '../serve/double.ts'
import { BOT_TOKEN, envelope, SECRET, type SlackHarness, startSlackHarness } from '../slack/harness.ts'
import { type Installed, installFunctions, type Running, slackEvent } from './lambda.ts'
import { ROOT } from './packaged.ts'

let slack: SlackHarness
let sqs: SqsDouble
let installed: Installed
let state: string
let webhook: Running
let stopPolling = async () => {}
const running: Running[] = []
const batches: (SQSBatchResponse | undefined)[] = []

beforeAll(async () => {
  // Only the emulator of the harness is used. Its Slack app receives no event.
  slack = await startSlackHarness({ engine: doubleEngine() })
  sqs = await startSqsDouble()
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
  installed = await installFunctions()
  const start = (name: string) => {
    const started = installed.start(name, {
      GLIMPSE_QUEUE: sqs.url,
      GLIMPSE_STATE: state,
      SLACK_BOT_TOKEN: BOT_TOKEN,
      SLACK_SIGNING_SECRET: SECRET,
      SLACK_API_URL: slack.responseUrl.replace(/response$/, 'api/'),
      AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    })
    running.push(started)
    return started
  }
  webhook = start('slack')
  const answer = start('answer')
  stopPolling = pollInto(sqs, async (event) => {
    const result = (await answer.invoke(event)) as SQSBatchResponse
    batches.push(result)
    return result
  })
})

afterAll(async () => {
  await stopPolling()
  for (const each of running) each.stop()
  await installed?.remove()
  await slack?.close()
  await sqs?.close()
  await rm(state, { recursive: true, force: true })
})

/** Sends an event as Slack signs it and as API Gateway encodes it. @returns the HTTP status */
async function send(event: Record<string, unknown>, secret = SECRET): Promise<number> {
  const answer = await webhook.invoke(slackEvent(envelope(slack.team, event), secret))
  return (answer as { statusCode: number }).statusCode
}

const repliesOf = async (ts: string) => (await slack.thread(ts)).filter(({ user }) => user === slack.botId)

test('captions a picture in its thread, answers a question about it, and answers a redelivered event once', async () => {
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
  await expect.poll(() => repliesOf(ts)).toHaveLength(1)
  expect((await repliesOf(ts))[0]!.text).toContain('sunflower')

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
  await expect.poll(() => repliesOf(ts)).toHaveLength(2)
  expect((await repliesOf(ts))[1]!.text).toContain('yellow')
  await expect.poll(() => sqs.waiting()).toBe(0)
  expect(batches).toEqual([{ batchItemFailures: [] }, { batchItemFailures: [] }])

  // A redelivery, as Slack sends it after a response that was late.
  expect(await send(event)).toBe(200)
  expect(await repliesOf(ts)).toHaveLength(2)
})

test('refuses an event with a wrong signature with 401 and queues nothing', async () => {
  const event = { type: 'message', text: 'x', ts: '1.1', channel: slack.channel, channel_type: 'channel' }
  expect(await send(event, 'another secret')).toBe(401)
  expect(sqs.waiting()).toBe(0)
})
