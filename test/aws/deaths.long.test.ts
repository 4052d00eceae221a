// The function `answer` dies at every step: after each request that it sends, once that has taken effect. And S3 fails for ten
// minutes. Real are the bundles, SQS and S3 (moto), the SDKs; doubles are Slack, the remote engine and Lambda's event source.
//
// Each death has three questions: one whose process dies, one in another thread of its channel, one behind it in its thread. The
// queue's clock is moved by ending a visibility timeout that the function set, and the next process' clock is ahead by as much.

import { createServer, type IncomingMessage, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { type Message, SQS } from '@aws-sdk/client-sqs'
import type { SQSBatchResponse } from 'aws-lambda'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPreferences } from '../../src/chat/preferences.ts'
import { configureLog } from '../../src/observe/log.ts'
import { queueProducer } from '../../src/queue/producer.ts'
import { MAX_RECEIVES } from '../../src/queue/queue.ts'
import { sqsQueue } from '../../src/queue/sqs.ts'
import { createApp } from '../../src/serve/routes.ts'
import { questionOfMessage } from '../../src/slack/message.ts'
import { messageSchema } from '../../src/slack/payloads.ts'
import { openS3Store } from '../../src/store/s3.ts'
import { type Moto, startMoto } from '../moto.ts'
import { eventOf, type SqsMessage } from '../queue/sqs-double.ts'
import { doubleEngine, PNG } from '../serve/double.ts'
import { envelope } from '../slack/harness.ts'
import { type Installed, installFunctions, type Running, slackEvent } from './lambda.ts'

/** Of the function in gpu=embedded, and of its queue. */
const TIMEOUT_S = 50
const QUEUE_HIDDEN_S = 60
/** After this a dead function's message is visible again, whenever it died. */
const PASSED_MS = 60_000

const SECRET = 'signing-secret-of-the-tests'

let moto: Moto
let sqs: SQS
let url: string
let deadUrl: string
let installed: Installed
let front: Front
let producer: ReturnType<typeof queueProducer>
const running: Running[] = []

beforeAll(async () => {
  moto = await startMoto(async (options) => {
    const bucket = new S3Client({ ...options, forcePathStyle: true })
    await bucket.send(new CreateBucketCommand({ Bucket: 'state' }))
    sqs = new SQS(options)
    deadUrl = (await sqs.createQueue({ QueueName: 'dead.fifo', Attributes: { FifoQueue: 'true' } })).QueueUrl!
  })
  const described = await sqs.getQueueAttributes({ QueueUrl: deadUrl, AttributeNames: ['QueueArn'] })
  const redrive = { deadLetterTargetArn: described.Attributes!['QueueArn'], maxReceiveCount: MAX_RECEIVES }
  const Attributes = {
    FifoQueue: 'true',
    DeduplicationScope: 'messageGroup',
    FifoThroughputLimit: 'perMessageGroupId',
    VisibilityTimeout: String(QUEUE_HIDDEN_S),
    RedrivePolicy: JSON.stringify(redrive),
  }
  url = (await sqs.createQueue({ QueueName: 'questions.fifo', Attributes })).QueueUrl!
  installed = await installFunctions()
  front = await startFront(moto.options.endpoint)
  const store = await openS3Store('s3://state/state', { ...moto.options, forcePathStyle: true })
  const preferences = openPreferences(store)
  producer = queueProducer({ queue: sqsQueue(url, moto.options), store, preferences, keepMs: 3_600_000 })
})
afterAll(async () => {
  for (const each of running) each.stop()
  await installed?.remove()
  front?.close()
  moto?.stop()
})

test('whatever step the function dies at, each question has one reply, and other threads of its channel do not wait', async () => {
  const other = start('other', 0)
  const later = start('later', PASSED_MS)
  const wrong: string[] = []
  let step = 0
  for (; ; step++) {
    const channel = `C${step}`
    const name = `dying${step}`
    const dying = start(name, 0)
    front.killAfter(name, step, dying.stop)
    await ask(channel, '1.1', undefined, `/${name}/picture`)
    await ask(channel, '2.1', undefined, '/other/picture')
    await ask(channel, '1.2', '1.1')

    const { ReceiptHandle, ...first } = await receive()
    const invoked = dying.invoke(eventOf([{ ...first, ReceiptHandle } as SqsMessage]))
    const isDead = await invoked.then(
      () => false,
      () => true,
    )
    // It needed fewer requests than that: there are no more steps.
    if (!isDead) {
      await sqs.deleteMessage({ QueueUrl: url, ReceiptHandle: ReceiptHandle! })
      expect((await deliver(later)).sort()).toEqual(['1.2', '2.1'])
      break
    }
    // The question behind it in its thread waits, that of another thread does not.
    expect(await deliver(other)).toEqual(['2.1'])
    const hiddenS = front.hidden.get(ReceiptHandle!) ?? QUEUE_HIDDEN_S
    expect(1000 * hiddenS).toBeLessThanOrEqual(PASSED_MS)
    await sqs.changeMessageVisibility({ QueueUrl: url, ReceiptHandle: ReceiptHandle!, VisibilityTimeout: 0 })
    expect(await deliver(later)).toEqual(['1.1', '1.2'])
    for (const [thread, count] of Object.entries({ '1.1': 2, '2.1': 1 })) {
      const found = front.replies(channel, thread)
      if (found !== count) wrong.push(`death after request ${step}: ${found} replies in thread ${thread}`)
    }
  }
  expect(wrong).toEqual([])
  // The claim, the picture, the engine, the reply and what is recorded of it are requests of their own.
  expect(step).toBeGreaterThan(20)
  expect(await deadCount()).toBe('0')
  expect(new Set(front.hidden.values())).toContain(TIMEOUT_S + 5)
  console.log(`${step} deaths, ${wrong.length} wrong`)
}, 900_000)

test('while S3 fails for ten minutes a question waits in the queue, and is answered afterwards', async () => {
  front.isS3Down = true
  const channel = 'COUT'
  const webhook = start('webhook', 0, 'slack')
  const event = {
    type: 'app_mention',
    channel,
    user: 'U1',
    ts: '1.1',
    text: '<@UBOT>',
    files: [{ id: 'F1', mimetype: 'image/png', url_private: `${front.url}/outage/picture` }],
  }
  expect(await webhook.invoke(slackEvent(envelope('T', event), SECRET))).toMatchObject({
    statusCode: 200,
  })
  let passedS = 0
  let lines: string[] = []
  for (let deliveries = 1; ; deliveries++) {
    front.isS3Down = passedS < 600
    const answer = start(`outage${deliveries}`, 1000 * passedS)
    const message = await receive()
    expect(message.Attributes?.ApproximateReceiveCount).toBe(String(deliveries))
    const { batchItemFailures } = (await answer.invoke(eventOf([message as SqsMessage]))) as SQSBatchResponse
    lines = answer.lines()
    answer.stop()
    if (!front.isS3Down) {
      expect(batchItemFailures, answer.lines().join('\n')).toEqual([])
      await sqs.deleteMessage({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle! })
      break
    }
    expect(batchItemFailures).toEqual([{ itemIdentifier: message.MessageId }])
    // The faults are counted although the bucket did not open.
    expect(answer.lines().some((line) => line.includes('"glimpse_faults_total"'))).toBe(true)
    passedS += front.hidden.get(message.ReceiptHandle!)!
    const visible = { ReceiptHandle: message.ReceiptHandle!, VisibilityTimeout: 0 }
    await sqs.changeMessageVisibility({ QueueUrl: url, ...visible })
  }
  expect(front.replies(channel, '1.1'), lines.join('\n')).toBe(1)
  // Of the 15 minutes for which a question is answered.
  expect(passedS).toBeLessThan(14 * 60)
  expect(await deadCount()).toBe('0')
  webhook.stop()
}, 300_000)

async function deadCount(): Promise<string | undefined> {
  const AttributeNames = ['ApproximateNumberOfMessages' as const]
  const { Attributes } = await sqs.getQueueAttributes({ QueueUrl: deadUrl, AttributeNames })
  return Attributes!['ApproximateNumberOfMessages']
}

function start(name: string, aheadMs: number, handler = 'answer'): Running {
  const at = `${front.url}/${name}`
  const env = {
    GLIMPSE_QUEUE: `${at}/sqs${new URL(url).pathname}`,
    GLIMPSE_STATE: 's3://state/state',
    GLIMPSE_ENGINE: `${at}/engine`,
    GLIMPSE_LOG: 'json',
    AWS_REGION: moto.options.region,
    AWS_ENDPOINT_URL_SQS: `${at}/sqs`,
    AWS_ENDPOINT_URL_S3: `${at}/s3`,
    SLACK_BOT_TOKEN: 'xoxb-of-the-tests',
    SLACK_SIGNING_SECRET: SECRET,
    GLIMPSE_METRICS: 'emf',
    SLACK_API_URL: `${at}/slack/`,
  }
  const started = installed.start(handler, env, { timeoutMs: 1000 * TIMEOUT_S, aheadMs })
  running.push(started)
  return started
}

async function ask(channel: string, ts: string, thread_ts?: string, picture?: string): Promise<void> {
  const files = picture
    ? [{ id: `F${channel}${ts}`, mimetype: 'image/png', url_private: front.url + picture }]
    : []
  const text = `<@UBOT> ${thread_ts ? 'how many?' : ''}`
  const message = messageSchema.parse({ ts, thread_ts, user: `U${channel}`, text, files })
  const context = { team: 'T', channel, isDirect: false, me: 'UBOT', now: Date.now() }
  await producer.submit(questionOfMessage(message, context)!)
}

async function receive(): Promise<Message> {
  const input = {
    QueueUrl: url,
    MaxNumberOfMessages: 1,
    MessageSystemAttributeNames: ['All' as const],
    VisibilityTimeout: QUEUE_HIDDEN_S,
  }
  const { Messages = [] } = await sqs.receiveMessage(input)
  return Messages[0] ?? expect.fail('Expected a message.')
}

/** What Lambda does: receives and invokes, until no message is visible. Returns the messages' times in Slack. */
async function deliver(by: Running): Promise<string[]> {
  const delivered: string[] = []
  while (true) {
    const input = { QueueUrl: url, MaxNumberOfMessages: 1, MessageSystemAttributeNames: ['All' as const] }
    const [message] = (await sqs.receiveMessage(input)).Messages ?? []
    if (!message) return delivered
    const answer = (await by.invoke(eventOf([message as SqsMessage]))) as SQSBatchResponse
    expect(answer, by.lines().join('\n')).toEqual({ batchItemFailures: [] })
    await sqs.deleteMessage({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle! })
    delivered.push(JSON.parse(message.Body!).question.source)
  }
}

type Front = Awaited<ReturnType<typeof startFront>>

/** All that the functions talk to: /<process>/<service>/... It counts the requests of each process. */
async function startFront(aws: string) {
  configureLog('json', { write: () => {} })
  const engine = createApp(doubleEngine(), { report: () => {} })
  const posted: Record<string, string>[] = []
  const counts = new Map<string, number>()
  const deaths = new Map<string, { after: number; kill: () => void }>()
  const hidden = new Map<string, number>()
  const self = { isS3Down: false }

  const slack: Record<string, (given: Record<string, string>) => object> = {
    'auth.test': () => ({ user_id: 'UBOT', bot_id: 'BBOT', team_id: 'T' }),
    'users.info': () => ({ user: { locale: 'en-US' } }),
    'chat.postMessage': (given) => ({ ts: `9.${posted.push(given)}` }),
    'conversations.replies': ({ channel, ts }) => ({
      messages: posted
        .map((each, index) => ({ ...each, metadata: JSON.parse(each['metadata']!), ts: `9.${index + 1}` }))
        .filter((each) => (each as Record<string, unknown>)['channel'] === channel)
        .filter((each) => (each as Record<string, unknown>)['thread_ts'] === ts),
    }),
  }
  const handle = async (service: string, path: string, request: IncomingMessage, body: Buffer) => {
    if (service === 'picture') return { status: 200, headers: {}, body: Buffer.from(PNG) }
    if (service === 'slack') {
      const answer = slack[path.slice(1)]?.(Object.fromEntries(new URLSearchParams(body.toString())))
      const said = answer ? { ok: true, ...answer } : { ok: false, error: 'unknown_method' }
      return {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: Buffer.from(JSON.stringify(said)),
      }
    }
    if (service === 'engine') {
      const method = request.method!
      const headers = { 'content-type': 'application/json' }
      const said = await engine.request(path, {
        method,
        headers,
        body: method === 'POST' ? body.toString() : undefined,
      })
      return { status: said.status, headers, body: Buffer.from(await said.arrayBuffer()) }
    }
    if (String(request.headers['x-amz-target']).endsWith('ChangeMessageVisibility')) {
      const { ReceiptHandle, VisibilityTimeout } = JSON.parse(body.toString())
      hidden.set(ReceiptHandle, VisibilityTimeout)
    }
    if (service === 's3' && self.isS3Down) return { status: 503, headers: {}, body: Buffer.alloc(0) }
    return await forward(aws + path, request, body)
  }
  const server = createServer(async (request, response) => {
    const [, name = '', service = '', path = ''] = /^\/([^/]+)\/([^/?]+)(.*)$/.exec(request.url!) ?? []
    const body = await buffer(request)
    const answer = await handle(service, path, request, body)
    const count = (counts.get(name) ?? 0) + 1
    counts.set(name, count)
    const death = deaths.get(name)
    if (death && count >= death.after) {
      // Another process fetches the picture at the same address later.
      deaths.delete(name)
      death.kill()
      return void request.socket.destroy()
    }
    response.writeHead(answer.status, answer.headers).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(self, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Seconds of the last ChangeMessageVisibility, by receipt handle. */
    hidden,
    /** Kills the process once its request of this number has taken effect; 0: before its first. */
    killAfter(name: string, after: number, kill: () => void) {
      if (after === 0) kill()
      else deaths.set(name, { after, kill })
    },
    replies: (channel: string, thread: string) =>
      posted.filter((each) => each['channel'] === channel && each['thread_ts'] === thread).length,
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
}

function forward(to: string, { method, headers }: IncomingMessage, body: Buffer) {
  return new Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }>(
    (resolve, reject) => {
      const sent = send(to, { method, headers: { ...headers, host: new URL(to).host } }, async (response) => {
        resolve({ status: response.statusCode!, headers: response.headers, body: await buffer(response) })
      })
      sent.once('error', reject)
      sent.end(body)
    },
  )
}
