// The functions `slack`, `discord` and `answer`, each with only the files of its zip. Covers signatures of bodies that API
// Gateway encoded in base64, the queue, and failed messages.

import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SQSEvent } from 'aws-lambda'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openJobs } from '../../src/chat/jobs.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import { type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { apiEvent, type Installed, installFunctions, type Running, slackEvent } from './lambda.ts'

const SECRET = 'signing-secret-of-the-tests'
const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const PUBLIC_KEY = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('hex')
/** No server listens on this address. These tests need no response from Slack. */
const NO_SERVER = 'http://127.0.0.1:9/api/'

let installed: Installed
let sqs: SqsDouble
let state: string
const running: Running[] = []

interface Answer {
  statusCode: number
  body: string
}

function start(name: string, env: Record<string, string>): Running {
  const started = installed.start(name, {
    GLIMPSE_STATE: state,
    GLIMPSE_QUEUE: sqs.url,
    GLIMPSE_LOG: 'json',
    AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    SLACK_API_URL: NO_SERVER,
    ...env,
  })
  running.push(started)
  return started
}

beforeAll(async () => {
  installed = await installFunctions()
  sqs = await startSqsDouble()
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
})

afterAll(async () => {
  for (const each of running) each.stop()
  await sqs.close()
  await installed.remove()
  await rm(state, { recursive: true, force: true })
})

/** Returns an API Gateway event with an interaction that is signed as Discord signs it, at `timeMs`. */
function interaction(payload: object, timeMs = Date.now(), key = privateKey) {
  const body = JSON.stringify(payload)
  const timestamp = String(Math.floor(timeMs / 1_000))
  const signature = sign(null, Buffer.from(timestamp + body), key).toString('hex')
  const headers = { 'x-signature-ed25519': signature, 'x-signature-timestamp': timestamp }
  return apiEvent('POST', '/discord/interactions', {
    body,
    headers: { ...headers, 'content-type': 'application/json' },
  })
}

const COMMAND = {
  type: 2,
  id: '900000000000000001',
  application_id: '100000000000000001',
  token: 'interaction-token',
  version: 1,
  locale: 'en-US',
  channel_id: '300000000000000001',
  guild_id: '200000000000000001',
  member: { user: { id: '400000000000000001', username: 'ann' } },
  data: {
    id: '500000000000000001',
    name: 'Describe this image',
    type: 3,
    target_id: '600000000000000001',
    resolved: {
      messages: {
        '600000000000000001': {
          id: '600000000000000001',
          channel_id: '300000000000000001',
          author: { id: '400000000000000002', username: 'ben' },
          content: '',
          attachments: [
            {
              id: '700000000000000001',
              filename: 'cat.png',
              size: 1_000,
              content_type: 'image/png',
              url: 'https://cdn.discordapp.com/attachments/1/2/cat.png',
            },
          ],
        },
      },
    },
  },
}

test('discord accepts only requests signed by Discord, and queues a question before it defers the reply', async () => {
  const discord = start('discord', { DISCORD_PUBLIC_KEY: PUBLIC_KEY })
  const ping = (await discord.invoke(
    interaction({ type: 1, id: '1', application_id: '2', token: 't', version: 1 }),
  )) as Answer
  expect([ping.statusCode, JSON.parse(ping.body)]).toEqual([200, { type: 1 }])
  const { privateKey: other } = generateKeyPairSync('ed25519')
  const forged = (await discord.invoke(interaction({ type: 1 }, Date.now(), other))) as Answer
  expect(forged.statusCode).toBe(401)
  expect(sqs.waiting()).toBe(0)

  const deferred = (await discord.invoke(interaction(COMMAND))) as Answer
  expect(JSON.parse(deferred.body)).toMatchObject({ type: 5 })
  expect(sqs.waiting()).toBe(1)
  discord.stop()
})

test('slack answers a challenge signed by Slack and refuses another signature with 401', async () => {
  const slack = start('slack', { SLACK_BOT_TOKEN: 'xoxb-of-the-tests', SLACK_SIGNING_SECRET: SECRET })
  const challenge = { type: 'url_verification', challenge: 'abc' }
  const send = async (secret: string) => (await slack.invoke(slackEvent(challenge, secret))) as Answer
  expect(JSON.parse((await send(SECRET)).body)).toEqual({ challenge: 'abc' })
  expect((await send('another')).statusCode).toBe(401)
  slack.stop()
})

test('a function without one of its secrets fails and names the secret', async () => {
  const slack = start('slack', { SLACK_BOT_TOKEN: 'xoxb-of-the-tests' })
  await expect(slack.invoke(apiEvent('POST', '/slack/events', { body: '{}' }))).rejects.toThrow(
    /SLACK_SIGNING_SECRET/,
  )
  slack.stop()
})

/** Receives as Lambda does before it invokes: received messages are hidden for 900 s. */
async function receive(): Promise<SQSEvent['Records']> {
  const input = { QueueUrl: sqs.url, MaxNumberOfMessages: 10, VisibilityTimeout: 900, WaitTimeSeconds: 0 }
  const headers = { 'x-amz-target': 'AmazonSQS.ReceiveMessage' }
  const response = await fetch(sqs.endpoint, { method: 'POST', headers, body: JSON.stringify(input) })
  const { Messages = [] } = (await response.json()) as { Messages?: Record<string, string>[] }
  return Messages.map(({ MessageId, ReceiptHandle, Body }) => ({
    messageId: MessageId!,
    receiptHandle: ReceiptHandle!,
    body: Body!,
    attributes: { ApproximateReceiveCount: '1', MessageGroupId: 'one' } as never,
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-central-1:000000000000:glimpse.fifo',
    awsRegion: 'eu-central-1',
  }))
}

test('answer reports a failed message, which is delivered again within a minute instead of after 15 minutes', async () => {
  const answer = start('answer', {
    DISCORD_TOKEN: 'token-of-the-tests',
    DISCORD_API_URL: 'http://127.0.0.1:9/api',
  })
  expect(await answer.invoke({ Records: [] })).toEqual({ batchItemFailures: [] })
  const Records = await receive()
  expect(Records).toHaveLength(1)
  // Another process holds the lease of the question, so it is unknown whether it will be answered.
  const { question } = JSON.parse(Records[0]!.body)
  const jobs = openJobs(await openDiskStore(state), {
    leaseMs: 30_000,
    keepMs: 3_600_000,
    time: { now: Date.now, sleep: async () => {} },
  })
  expect(await jobs.claim(question)).toMatchObject({ question: { id: question.id } })

  expect(await answer.invoke({ Records })).toEqual({
    batchItemFailures: [{ itemIdentifier: Records[0]!.messageId }],
  })
  expect(await receive()).toEqual([])
  sqs.pass(36_000)
  expect(await receive()).toHaveLength(1)
  answer.stop()
})

test('answer reports all messages as failed if it cannot start, and they are delivered again soon', async () => {
  // A path below a file cannot be a folder.
  const answer = start('answer', { DISCORD_TOKEN: 'token-of-the-tests', GLIMPSE_STATE: '/dev/null/state' })
  sqs.pass(901_000)
  const Records = await receive()
  expect(await answer.invoke({ Records })).toEqual({
    batchItemFailures: Records.map(({ messageId }) => ({ itemIdentifier: messageId })),
  })
  expect(answer.lines().join('\n')).toContain('GLIMPSE_STATE')
  sqs.pass(36_000)
  expect(await receive()).toHaveLength(1)
  answer.stop()
})
