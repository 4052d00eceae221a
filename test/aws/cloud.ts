// The functions of the bundles, the queues in moto, and a double of Lambda's event sources whose clock is moved: it delivers
// what is visible, and where nothing is, ends the visibility timeout that ends first. Processes that are started after that have
// a clock that is ahead by as much.

import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { type Message, SQS } from '@aws-sdk/client-sqs'
import type { SQSBatchResponse } from 'aws-lambda'
import { expect } from 'vitest'
import { openPreferences } from '../../src/chat/preferences.ts'
import { queueProducer } from '../../src/queue/producer.ts'
import { MAX_RECEIVES } from '../../src/queue/queue.ts'
import { sqsQueue } from '../../src/queue/sqs.ts'
import { questionOfMessage } from '../../src/slack/message.ts'
import { messageSchema } from '../../src/slack/payloads.ts'
import { openS3Store } from '../../src/store/s3.ts'
import { startMoto } from '../moto.ts'
import { eventOf, type SqsMessage } from '../queue/sqs-double.ts'
import { startFront } from './front.ts'
import { installFunctions, type Running } from './lambda.ts'

interface Options {
  /** Of `answer` and of its queue, in seconds. */
  timeoutS: number
  hiddenS: number
  /** Visibility timeout of the queue of notices. With it the engine is a SageMaker endpoint. */
  noticeHiddenS?: number
}

interface Ask {
  channel: string
  ts: string
  thread?: string
  picture?: string
  isDirect?: boolean
}

export const SECRET = 'signing-secret-of-the-tests'

export type Cloud = Awaited<ReturnType<typeof startCloud>>

export async function startCloud({ timeoutS, hiddenS, noticeHiddenS }: Options) {
  let sqs!: SQS
  let s3!: S3Client
  let deadUrl!: string
  const moto = await startMoto(async (options) => {
    s3 = new S3Client({ ...options, forcePathStyle: true })
    await s3.send(new CreateBucketCommand({ Bucket: 'state' }))
    sqs = new SQS(options)
    deadUrl = (await sqs.createQueue({ QueueName: 'dead.fifo', Attributes: { FifoQueue: 'true' } })).QueueUrl!
  })
  const described = await sqs.getQueueAttributes({ QueueUrl: deadUrl, AttributeNames: ['QueueArn'] })
  const redrive = { deadLetterTargetArn: described.Attributes!['QueueArn'], maxReceiveCount: MAX_RECEIVES }
  const Attributes = {
    FifoQueue: 'true',
    DeduplicationScope: 'messageGroup',
    FifoThroughputLimit: 'perMessageGroupId',
    VisibilityTimeout: String(hiddenS),
    RedrivePolicy: JSON.stringify(redrive),
  }
  const url = (await sqs.createQueue({ QueueName: 'questions.fifo', Attributes })).QueueUrl!
  const noticesUrl = (await sqs.createQueue({ QueueName: 'notices' })).QueueUrl!
  const notify = async (MessageBody: string) =>
    void (await sqs.sendMessage({ QueueUrl: noticesUrl, MessageBody }))
  const front = await startFront({ aws: moto.options.endpoint, s3, notify })
  const installed = await installFunctions()
  const store = await openS3Store('s3://state/state', { ...moto.options, forcePathStyle: true })
  const preferences = openPreferences(store)
  const queue = sqsQueue(url, moto.options)
  const producer = queueProducer({ queue, store, preferences, keepMs: 3_600_000 })

  const running: Running[] = []
  /** Messages that were received and not deleted, by their ids, with the seconds for which their queue hides them. */
  const inFlight = new Map<string, { QueueUrl: string; ReceiptHandle: string; ownS: number }>()

  const start = (name: string, aheadMs: number, handler = 'answer'): Running => {
    const at = `${front.url}/${name}`
    const engine =
      noticeHiddenS === undefined
        ? `${at}/engine`
        : 'sagemaker://blip2?bucket=state&prefix=sagemaker&notice=sns'
    const env = {
      GLIMPSE_QUEUE: `${at}/sqs${new URL(url).pathname}`,
      GLIMPSE_STATE: 's3://state/state',
      GLIMPSE_ENGINE: engine,
      GLIMPSE_DEADLINE_MS: noticeHiddenS === undefined ? '120000' : '660000',
      GLIMPSE_LOG: 'json',
      GLIMPSE_METRICS: 'emf',
      AWS_REGION: moto.options.region,
      AWS_ENDPOINT_URL_SQS: `${at}/sqs`,
      AWS_ENDPOINT_URL_S3: `${at}/s3`,
      AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME: `${at}/endpoint`,
      SLACK_BOT_TOKEN: 'xoxb-of-the-tests',
      SLACK_SIGNING_SECRET: SECRET,
      SLACK_API_URL: `${at}/slack/`,
    }
    const started = installed.start(handler, env, { timeoutMs: 1_000 * timeoutS, aheadMs })
    running.push(started)
    return started
  }

  const receive = async (QueueUrl = url): Promise<(Message & { ReceiptHandle: string }) | undefined> => {
    const ownS = QueueUrl === url ? hiddenS : noticeHiddenS!
    const { Messages = [] } = await sqs.receiveMessage({
      QueueUrl,
      MaxNumberOfMessages: 1,
      MessageSystemAttributeNames: ['All'],
      VisibilityTimeout: ownS,
    })
    const [message] = Messages
    if (!message) return undefined
    const ReceiptHandle = message.ReceiptHandle!
    inFlight.set(message.MessageId!, { QueueUrl, ReceiptHandle, ownS })
    return { ...message, ReceiptHandle }
  }

  /** What Lambda does with a message. Returns whether it was handled; undefined when the process died. */
  const invoke = async (message: Message, by: Running): Promise<boolean | undefined> => {
    const { QueueUrl, ReceiptHandle } = inFlight.get(message.MessageId!)!
    const answer = await by.invoke(eventOf([message as SqsMessage])).then(
      (given) => given as SQSBatchResponse | null,
      () => undefined,
    )
    if (answer === undefined) return undefined
    if (answer && answer.batchItemFailures.length > 0) return false
    await sqs.deleteMessage({ QueueUrl, ReceiptHandle })
    inFlight.delete(message.MessageId!)
    return true
  }

  /** Delivers until no question is visible. Returns the messages' times in Slack. */
  const deliver = async (by: Running): Promise<string[]> => {
    const delivered: string[] = []
    for (let message = await receive(); message; message = await receive()) {
      expect(await invoke(message, by), by.lines().join('\n')).toBe(true)
      delivered.push(sourceOf(message))
    }
    return delivered
  }

  /** Ends the visibility timeout that ends first. Returns its seconds; undefined when no message is in flight. */
  const pass = async (): Promise<number | undefined> => {
    const all = [...inFlight].map(([id, each]) => ({
      id,
      ...each,
      seconds: front.hidden.get(each.ReceiptHandle) ?? each.ownS,
    }))
    const first = all.sort((one, other) => one.seconds - other.seconds)[0]
    if (!first) return undefined
    inFlight.delete(first.id)
    const { QueueUrl, ReceiptHandle, seconds } = first
    await sqs.changeMessageVisibility({ QueueUrl, ReceiptHandle, VisibilityTimeout: 0 })
    return seconds
  }

  return {
    moto,
    sqs,
    url,
    noticesUrl,
    front,
    start,
    receive,
    invoke,
    deliver,
    pass,
    async ask({ channel, ts, thread, picture, isDirect = false }: Ask): Promise<void> {
      const files = picture
        ? [{ id: `F${channel}${ts}`, mimetype: 'image/png', url_private: front.url + picture }]
        : []
      const text = `<@UBOT> ${picture ? '' : 'how many?'}`
      const message = messageSchema.parse({ ts, thread_ts: thread, user: `U${channel}`, text, files })
      const context = { team: 'T', channel, isDirect, me: 'UBOT', now: Date.now() }
      await producer.submit(questionOfMessage(message, context)!)
    },
    async deadCount(): Promise<string | undefined> {
      const AttributeNames = ['ApproximateNumberOfMessages' as const]
      const { Attributes } = await sqs.getQueueAttributes({ QueueUrl: deadUrl, AttributeNames })
      return Attributes!['ApproximateNumberOfMessages']
    },
    async close() {
      for (const each of running) each.stop()
      await installed.remove()
      front.close()
      moto.stop()
    },
  }
}

/** The message's time in Slack. */
export function sourceOf({ Body }: Message): string {
  return JSON.parse(Body!).question.source
}
