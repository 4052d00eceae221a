// Slack event -> `glimpse listen` -> SQS queue -> `glimpse work` with the embedded model -> reply. The two processes share
// only the queue's URL and the store.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ROOT, type Running, startGlimpse } from '../cli/glimpse.ts'
import { type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { mentionWith, type SocketDouble, startSocketDouble } from '../slack/socket-mode-double.ts'
import { until } from '../until.ts'

let slack: SocketDouble
let sqs: SqsDouble
let state: string
const processes: Running[] = []

beforeAll(async () => {
  slack = await startSocketDouble(await readFile(join(ROOT, 'models/demo/crab-and-helicopter.png')))
  sqs = await startSqsDouble()
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
})
afterAll(async () => {
  await Promise.all(processes.map((each) => each.stop()))
  slack.close()
  await sqs.close()
  await rm(state, { recursive: true, force: true })
})

async function start(command: string, env: Record<string, string> = {}) {
  const started = await startGlimpse([command], {
    SLACK_BOT_TOKEN: 'xoxb-path',
    SLACK_APP_TOKEN: 'xapp-path',
    SLACK_API_URL: slack.apiUrl,
    GLIMPSE_STATE: state,
    GLIMPSE_QUEUE: sqs.url,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    ...env,
  })
  processes.push(started)
  return started
}

test('work answers what listen queued before work started, and both stop with status 0', async () => {
  const listening = await start('listen')
  expect(listening.printed()).toContain('Slack')
  slack.send('e1', mentionWith(slack.pictureUrl))
  await until(() => sqs.waiting() === 1)
  const working = await start('work')
  expect(await slack.replies(1)).toEqual(['A crab to the left of a helicopter on a yellow background.'])
  const { files: _, subtype: __, ...message } = mentionWith('')
  slack.send('e2', { ...message, ts: '2.0', thread_ts: '1.0', text: 'what is on the right?' })
  expect((await slack.replies(2))[1]).toBe('a helicopter')
  await until(() => sqs.waiting() === 0)
  expect(await Promise.all([listening, working].map((each) => each.stop()))).toEqual([0, 0])
})

test('serve with a queue receives, queues and answers in one process', async () => {
  const serving = await start('serve')
  slack.send('e3', { ...mentionWith(slack.pictureUrl), ts: '3.0' })
  expect(await slack.replies(3)).toHaveLength(3)
  expect(await serving.stop()).toBe(0)
})

test.each([
  ['listen', { GLIMPSE_QUEUE: '' }, 'GLIMPSE_QUEUE'],
  ['work', { GLIMPSE_QUEUE: 'memory' }, 'as GLIMPSE_QUEUE but got memory'],
  ['listen', { SLACK_BOT_TOKEN: '', SLACK_APP_TOKEN: '' }, 'No token'],
])('%s fails and names the missing setting: %j', async (command, env, message) => {
  const ended = await start(command, env)
  expect(await ended.stop()).toBe(1)
  expect(ended.printed()).toContain(message)
})
