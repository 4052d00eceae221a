// What lies elsewhere: secrets in SSM, the queue, a model that runs on another machine.

import { z } from 'zod'
import { type readSecrets, secretsBelow } from '../aws/secrets.ts'
import type { Config } from '../config.ts'
import { openRemoteEngine } from '../remote/open.ts'
import { type Finding, fail, ok, skipped, unexpected, warn } from './check.ts'

export interface SecretsFound {
  finding: Finding
  /** By the name of the setting. */
  values: Record<string, string>
}

/** Names only: what they hold is for the checks that use them. */
export async function lookAtSecrets(path: string, read?: typeof readSecrets): Promise<SecretsFound> {
  if (path === '') return { finding: skipped('GLIMPSE_SECRETS is not set'), values: {} }
  try {
    const values = await secretsBelow(path, undefined, read)
    const names = Object.keys(values)
    const finding =
      names.length > 0
        ? ok(`${names.join(', ')} below ${path}`)
        : warn(
            `no token stands below ${path}`,
            `Put one there: aws ssm put-parameter --type SecureString --name ${path.replace(/\/$/, '')}/SLACK_BOT_TOKEN --value ...`,
          )
    return { finding, values }
  } catch (error) {
    return { finding: unexpected(error), values: {} }
  }
}

const attributes = z.looseObject({
  FifoQueue: z.string().optional(),
  VisibilityTimeout: z.coerce.number(),
  ApproximateNumberOfMessages: z.coerce.number(),
  RedrivePolicy: z.string().optional(),
})
const redrive = z.looseObject({ deadLetterTargetArn: z.string(), maxReceiveCount: z.coerce.number() })
/** A question is claimed for half a minute at a time (chat/processor.ts). */
const SHORTEST_HIDING_S = 45
/** Fewer, and a question is given up for a fault that would have passed. */
const FEWEST_TRIES = 3

/** The queue between chats and answers: there, in order, and with a place for what cannot be answered. */
export async function checkQueue({
  queue,
  deadlineMs,
}: Pick<Config, 'queue' | 'deadlineMs'>): Promise<Finding> {
  if (queue === '') return skipped('GLIMPSE_QUEUE is not set: one process answers what it hears')
  const { GetQueueAttributesCommand } = await import('@aws-sdk/client-sqs')
  const { sqsClient } = await import('../queue/sqs.ts')
  // What it throws says what to set.
  const client = sqsClient(queue)
  const name = new URL(queue).pathname.split('/').at(-1)!
  let found: z.infer<typeof attributes>
  try {
    const { Attributes } = await client.send(
      new GetQueueAttributesCommand({ QueueUrl: queue, AttributeNames: ['All'] }),
    )
    found = attributes.parse(Attributes)
  } catch (error) {
    const why = error instanceof Error ? error.name : String(error)
    return fail(
      `${name} did not answer: ${why}`,
      'Check GLIMPSE_QUEUE, AWS_REGION and that the role may sqs:GetQueueAttributes.',
    )
  }
  if (found.FifoQueue !== 'true')
    return fail(
      `${name} is no FIFO queue`,
      "Make one whose name ends in .fifo: a thread's questions must stay in order.",
    )
  if (!found.RedrivePolicy)
    return fail(
      `${name} has no dead-letter queue`,
      'Give it one (RedrivePolicy): a question that cannot be answered would come back for days.',
    )
  const { maxReceiveCount } = redrive.parse(JSON.parse(found.RedrivePolicy))
  const waiting = `${found.ApproximateNumberOfMessages} waiting, hidden for ${found.VisibilityTimeout} s, ${maxReceiveCount} tries`
  if (found.VisibilityTimeout < SHORTEST_HIDING_S)
    return fail(
      `${name}: ${waiting}`,
      `Hide messages for ${SHORTEST_HIDING_S} s or more: sooner, another takes up what the first still has.`,
    )
  if (found.VisibilityTimeout * 1000 < deadlineMs)
    return warn(
      `${name}: ${waiting}`,
      'Enough for a worker that prolongs it as it works (`glimpse work`); on Lambda it must be six times the timeout of the function.',
    )
  if (maxReceiveCount < FEWEST_TRIES)
    return warn(`${name}: ${waiting}`, `Set maxReceiveCount to ${FEWEST_TRIES} or more.`)
  return ok(`${name}: ${waiting}`)
}

/** A model elsewhere says itself whether it is ready. */
export async function checkEngine(
  config: Pick<Config, 'engine' | 'apiToken' | 'deadlineMs'>,
): Promise<Finding> {
  const { engine, apiToken } = config
  // Calls nothing yet; what it throws says what to set.
  if (!(await openRemoteEngine(config))) return skipped('GLIMPSE_ENGINE is not set: the model runs here')
  if (engine.startsWith('sagemaker://'))
    return skipped('a SageMaker endpoint is asked by a question only, which costs')
  const address = new URL(`${engine.replace(/\/+$/, '')}/readyz`)
  const headers: Record<string, string> = apiToken === '' ? {} : { authorization: `Bearer ${apiToken}` }
  const response = await fetch(address, { headers, redirect: 'manual' }).catch((error: unknown) => ({
    error,
  }))
  if ('error' in response) {
    const { cause, message } = response.error as Error
    return fail(
      `${address.host} did not answer: ${cause instanceof Error ? cause.message : message}`,
      'Check GLIMPSE_ENGINE, and whether that Glimpse runs.',
    )
  }
  if (response.ok) return ok(`${address.host} is ready`)
  if (response.status === 503)
    return warn(
      `${address.host} answers but is not ready yet`,
      'Wait for its model; its log says what it does.',
    )
  return fail(
    `${address.host} answered ${response.status} at /readyz`,
    'Check that GLIMPSE_ENGINE is a Glimpse, and GLIMPSE_API_TOKEN its token.',
  )
}
