// A double of SQS in this process: the part of its JSON protocol that the queue uses, with FIFO groups, deduplication,
// visibility timeouts and redrive to a dead-letter queue. Tests control its clock and faults. Responses follow the API
// reference; test/queue/moto.long.test.ts makes the same requests to moto.

import { createHash, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'

interface Held {
  id: string
  body: string
  group: string
  attributes: Record<string, { DataType: string; StringValue: string }>
  receives: number
  visibleAt: number
  handle?: string
}

export interface SqsFault {
  /** `SendMessage`, `ReceiveMessage`, ... */
  on: string
  times?: number
  /** Status of the response; 0 breaks the connection. */
  status: number
  /** Error code. Default `ServiceUnavailable`. */
  type?: string
  /** The request takes effect; only its response is lost. */
  applied?: boolean
}

export interface SqsDouble {
  endpoint: string
  /** URL of the FIFO queue. */
  url: string
  waiting(): number
  /** Number of responses by action, such as `ReceiveMessage`. */
  answered(action: string): number
  /** Number of times that receives checked for a message; a long poll checks repeatedly. */
  looks(): number
  /** Bodies in the dead-letter queue. */
  dead: string[]
  fault(fault: SqsFault): void
  /** Delivers the next `times` deleted messages once more, as standard queues may. */
  duplicate(times: number): void
  /** Advances the clock beyond real time. */
  pass(ms: number): void
  close(): Promise<void>
}

const DEDUPE_MS = 5 * 60_000
const POLL_MS = 10
const DEFAULT_HIDDEN_S = 30

export async function startSqsDouble({ maxReceives = 5, clock = Date.now } = {}): Promise<SqsDouble> {
  let messages: Held[] = []
  const seen = new Map<string, number>()
  const dead: string[] = []
  const faults: SqsFault[] = []
  let passedMs = 0
  let duplicates = 0
  let closed = false
  let looks = 0
  const asked = new Map<string, number>()
  const now = () => clock() + passedMs

  const receivable = (most: number): Held[] => {
    looks++
    const found: Held[] = []
    const blocked = new Set<string>()
    for (const message of [...messages]) {
      // A hidden first message of a group hides the rest.
      if (message.visibleAt > now()) blocked.add(message.group)
      if (blocked.has(message.group) || found.length === most) continue
      if (message.receives >= maxReceives) {
        messages = messages.filter((one) => one !== message)
        dead.push(message.body)
        continue
      }
      found.push(message)
    }
    return found
  }

  const actions: Record<string, (input: never, isOpen: () => boolean) => unknown> = {
    SendMessage(input: {
      MessageBody: string
      MessageGroupId: string
      MessageDeduplicationId: string
      MessageAttributes?: Held['attributes']
    }) {
      for (const name of [input.MessageGroupId, input.MessageDeduplicationId])
        if (!/^[\w!"#$%&'()*+,\-./:;<=>?@[\\\]^`{|}~]{1,128}$/.test(name))
          throw new Refused('InvalidParameterValue')
      const answer = { MessageId: randomUUID(), MD5OfMessageBody: md5(input.MessageBody) }
      const last = seen.get(input.MessageDeduplicationId)
      if (last !== undefined && last + DEDUPE_MS > now()) return answer
      seen.set(input.MessageDeduplicationId, now())
      messages.push({
        id: answer.MessageId,
        body: input.MessageBody,
        group: input.MessageGroupId,
        attributes: input.MessageAttributes ?? {},
        receives: 0,
        visibleAt: 0,
      })
      return answer
    },
    async ReceiveMessage(
      input: { MaxNumberOfMessages?: number; WaitTimeSeconds?: number; VisibilityTimeout?: number },
      isOpen,
    ) {
      const until = Date.now() + 1000 * (input.WaitTimeSeconds ?? 0)
      const most = input.MaxNumberOfMessages ?? 1
      let found = receivable(most)
      while (found.length === 0 && Date.now() < until && isOpen() && !closed) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        found = receivable(most)
      }
      // A message returned to a disconnected caller would be lost until its visibility timeout.
      if (!isOpen()) return {}
      for (const message of found) {
        message.receives++
        message.visibleAt = now() + 1000 * (input.VisibilityTimeout ?? DEFAULT_HIDDEN_S)
        message.handle = randomUUID()
      }
      return {
        Messages: found.map((message) => ({
          MessageId: message.id,
          ReceiptHandle: message.handle,
          Body: message.body,
          MD5OfBody: md5(message.body),
          Attributes: { MessageGroupId: message.group, ApproximateReceiveCount: String(message.receives) },
          MessageAttributes: message.attributes,
        })),
      }
    },
    DeleteMessage({ ReceiptHandle }: { ReceiptHandle: string }) {
      const held = messages.find(({ handle }) => handle === ReceiptHandle)
      if (held && duplicates > 0) {
        duplicates--
        held.visibleAt = 0
        held.receives = 0
      } else messages = messages.filter((one) => one !== held)
      return {}
    },
    ChangeMessageVisibility(input: { ReceiptHandle: string; VisibilityTimeout: number }) {
      const held = messages.find(({ handle }) => handle === input.ReceiptHandle)
      if (!held) throw new Refused('ReceiptHandleIsInvalid')
      held.visibleAt = now() + 1000 * input.VisibilityTimeout
      return {}
    },
    GetQueueAttributes: () => ({
      Attributes: {
        FifoQueue: 'true',
        VisibilityTimeout: '360',
        ApproximateNumberOfMessages: String(messages.length),
        RedrivePolicy: JSON.stringify({
          maxReceiveCount: maxReceives,
          deadLetterTargetArn: 'arn:aws:sqs:::dead',
        }),
      },
    }),
  }

  const server = createServer(async (request, response) => {
    let isOpen = true
    response.once('close', () => {
      isOpen = false
    })
    const end = (status: number, body: unknown) => {
      if (status === 0) return void request.socket.destroy()
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body))
    }
    const action = actionOf(request)
    response.once('finish', () => asked.set(action, (asked.get(action) ?? 0) + 1))
    const fault = faults.find(({ on, times = 1 }) => on === action && times > 0)
    if (fault) fault.times = (fault.times ?? 1) - 1
    const input = JSON.parse(await text(request))
    const type = fault?.type ?? 'ServiceUnavailable'
    const broken = { __type: `com.amazonaws.sqs#${type}`, message: 'as a fault wants it' }
    if (fault && !fault.applied) return end(fault.status, broken)
    try {
      const answer = await actions[action]!(input as never, () => isOpen)
      end(fault ? fault.status : 200, fault ? broken : answer)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      end(400, { __type: `com.amazonaws.sqs#${error.message}`, message: error.message })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    endpoint,
    url: `${endpoint}/000000000000/glimpse.fifo`,
    waiting: () => messages.length,
    answered: (action) => asked.get(action) ?? 0,
    looks: () => looks,
    dead,
    fault: (fault) => void faults.push({ ...fault }),
    duplicate(times) {
      duplicates += times
    },
    pass(ms) {
      passedMs += ms
    },
    async close() {
      closed = true
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

class Refused extends Error {}

function actionOf(request: IncomingMessage): string {
  return String(request.headers['x-amz-target']).replace('AmazonSQS.', '')
}

function md5(body: string): string {
  return createHash('md5').update(body).digest('hex')
}

/** One message as ReceiveMessage returns it. */
export interface SqsMessage {
  MessageId: string
  ReceiptHandle: string
  Body: string
  MD5OfBody: string
  Attributes: SQSRecord['attributes']
  MessageAttributes?: Held['attributes']
}

/** Makes one call without the SDK, for the double of Lambda. */
export async function askSqs(
  { endpoint, url }: Pick<SqsDouble, 'endpoint' | 'url'>,
  action: string,
  input: object,
): Promise<{ Messages?: SqsMessage[] }> {
  const headers = { 'x-amz-target': `AmazonSQS.${action}` }
  const body = JSON.stringify({ QueueUrl: url, ...input })
  const response = await fetch(endpoint, { method: 'POST', headers, body })
  return (await response.json()) as { Messages?: SqsMessage[] }
}

export function eventOf(messages: readonly SqsMessage[]): SQSEvent {
  return { Records: messages.map(recordOf) }
}

export interface PollOptions {
  batchSize?: number
  hiddenS?: number
}

/** A double of Lambda's event source mapping: receives, invokes, deletes successful messages. Returns a function that stops it. */
export function pollInto(
  sqs: Pick<SqsDouble, 'endpoint' | 'url'>,
  invoke: (event: SQSEvent) => Promise<SQSBatchResponse | undefined>,
  { batchSize = 10, hiddenS = 60 }: PollOptions = {},
): () => Promise<void> {
  let stopped = false
  const poll = async () => {
    while (!stopped) {
      const input = {
        MaxNumberOfMessages: batchSize,
        VisibilityTimeout: hiddenS,
        WaitTimeSeconds: 1,
      }
      const { Messages = [] } = await askSqs(sqs, 'ReceiveMessage', input).catch(() => ({ Messages: [] }))
      if (Messages.length === 0) continue
      const event = eventOf(Messages)
      const failures = await invoke(event).then(
        (answer) => new Set(answer?.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)),
        () => new Set(event.Records.map(({ messageId }) => messageId)),
      )
      for (const { messageId, receiptHandle } of event.Records) {
        if (failures.has(messageId)) {
          await askSqs(sqs, 'ChangeMessageVisibility', { ReceiptHandle: receiptHandle, VisibilityTimeout: 0 })
        } else await askSqs(sqs, 'DeleteMessage', { ReceiptHandle: receiptHandle })
      }
    }
  }
  const polling = poll()
  return async () => {
    stopped = true
    await polling
  }
}

function recordOf(message: SqsMessage): SQSRecord {
  const { MessageId, ReceiptHandle, Body, MD5OfBody, Attributes, MessageAttributes = {} } = message
  const messageAttributes = Object.fromEntries(
    Object.entries(MessageAttributes).map(([name, { StringValue }]) => [
      name,
      { stringValue: StringValue, dataType: 'String' as const },
    ]),
  )
  return {
    messageId: MessageId,
    receiptHandle: ReceiptHandle,
    body: Body,
    md5OfBody: MD5OfBody,
    attributes: Attributes,
    messageAttributes,
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-central-1:000000000000:glimpse.fifo',
    awsRegion: 'eu-central-1',
  }
}
