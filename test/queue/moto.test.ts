// The same promises before moto, an SQS that we did not write: pip install 'moto[server,sqs]' puts moto_server on the
// path, without which this is skipped. It looks at the start of a receive which groups are busy, so receives
// are short here: SQS itself looks all along.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MAX_RECEIVES } from '../../src/queue/queue.ts'
import { sqsQueue } from '../../src/queue/sqs.ts'
import { keepsItsPromises } from './conformance.ts'

const isThere = (() => {
  try {
    execFileSync('moto_server', ['--help'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

describe.skipIf(!isThere)('before moto', () => {
  let moto: ChildProcess
  let options: {
    endpoint: string
    region: string
    credentials: Record<'accessKeyId' | 'secretAccessKey', string>
  }
  let client: SQSClient
  let number = 0

  beforeAll(async () => {
    const port = await freePort()
    moto = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
    options = {
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    }
    client = new SQSClient(options)
    for (let tries = 0; ; tries++) {
      try {
        await make('first.fifo')
        return
      } catch (error) {
        if (tries === 100) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  })
  afterAll(() => void moto.kill())

  const make = async (name: string, more: Record<string, string> = {}): Promise<string> => {
    const Attributes = { FifoQueue: 'true', ...more }
    return (await client.send(new CreateQueueCommand({ QueueName: name, Attributes }))).QueueUrl!
  }
  const attribute = async (url: string, name: 'QueueArn' | 'ApproximateNumberOfMessages') => {
    const command = new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: [name] })
    return (await client.send(command)).Attributes![name]!
  }
  const open = async () => {
    number++
    const deadUrl = await make(`dead-${number}.fifo`)
    const deadLetterTargetArn = await attribute(deadUrl, 'QueueArn')
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn, maxReceiveCount: MAX_RECEIVES })
    const url = await make(`questions-${number}.fifo`, { RedrivePolicy })
    const dead = async () => Number(await attribute(deadUrl, 'ApproximateNumberOfMessages'))
    return {
      queue: sqsQueue(url, {
        ...options,
        againS: 0, // A receiver that left goes on receiving there: what it took comes back soon.
        hiddenS: 3,
        waitS: 1,
      }),
      dead,
    }
  }

  keepsItsPromises(open)

  test('a queue with dead letters is found good, one without or none at all is not', async () => {
    await expect((await open()).queue.check()).resolves.toBeUndefined()
    const bare = sqsQueue(await make('bare.fifo'), options)
    await expect(bare.check()).rejects.toMatchObject({ code: 'bad_queue' })
    const none = sqsQueue(`${options.endpoint}/123456789012/none.fifo`, options)
    await expect(none.check()).rejects.toMatchObject({ code: 'bad_queue' })
  })
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
