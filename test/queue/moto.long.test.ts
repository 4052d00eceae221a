// The same promises before moto, an SQS that we did not write. It looks at the start of a receive which groups are busy, so receives
// are short here: SQS itself looks all along.

import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MAX_RECEIVES } from '../../src/queue/queue.ts'
import { sqsQueue } from '../../src/queue/sqs.ts'
import { type Moto, startMoto } from '../moto.ts'
import { conformsToQueue } from './conformance.ts'

describe('before moto', () => {
  let moto: Moto
  let options: Moto['options']
  let client: SQSClient
  let number = 0

  beforeAll(async () => {
    moto = await startMoto(async (given) => {
      client = new SQSClient(given)
      await make('first.fifo')
    })
    options = moto.options
  })
  afterAll(() => moto?.stop())

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
        retryS: 0,
        // A receiver that left goes on receiving there: what it took comes back soon.
        visibilityTimeoutS: 3,
        waitTimeS: 1,
      }),
      dead,
    }
  }

  conformsToQueue(open)

  test('a queue with dead letters is found good, one without or none at all is not', async () => {
    await expect((await open()).queue.check()).resolves.toBeUndefined()
    const bare = sqsQueue(await make('bare.fifo'), options)
    await expect(bare.check()).rejects.toMatchObject({ code: 'bad_queue' })
    const none = sqsQueue(`${options.endpoint}/123456789012/none.fifo`, options)
    await expect(none.check()).rejects.toMatchObject({ code: 'bad_queue' })
  })
})
