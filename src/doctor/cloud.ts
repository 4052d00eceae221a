// Settings -> findings about secrets in SSM, the queue in SQS and a remote engine.

import { z } from 'zod'
import type { readSecrets } from '../app/secrets.ts'
import type { Config } from '../config.ts'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { loadPart, SQS_PACKAGES } from '../optional-part.ts'
import { openRemoteEngine } from '../remote/open.ts'

/** The finding names the secrets. `use` gets their values by the name of their setting. @throws SetupError */
export async function checkSecrets(
  path: string,
  use: (values: Record<string, string>) => void,
  read?: typeof readSecrets,
): Promise<Finding> {
  if (path === '') return skipped('GLIMPSE_SECRETS is not set')
  const { secretsBelow } = await loadPart(
    'GLIMPSE_SECRETS',
    ['@aws-sdk/client-ssm'],
    () => import('../app/secrets.ts'),
  )
  const values = await secretsBelow(path, undefined, read)
  use(values)
  const names = Object.keys(values)
  if (names.length > 0) return ok(`${names.join(', ')} below ${path}`)
  const name = `${path.replace(/\/$/, '')}/SLACK_BOT_TOKEN`
  const todo = `Store one: aws ssm put-parameter --type SecureString --name ${name} --value ...`
  return warn(`there is no token below ${path}`, todo)
}

const redrive = z.object({ deadLetterTargetArn: z.string(), maxReceiveCount: z.coerce.number() })
/** A worker leases a question for 30 s at a time (chat/processor.ts). */
const MIN_VISIBILITY_S = 45
/** With fewer receives a passing fault moves a question to the dead-letter queue. */
const MIN_RECEIVES = 3

/** The queue exists, keeps its order, and has a dead-letter queue and enough time to answer. */
export async function checkQueue({
  queue,
  deadlineMs,
}: Pick<Config, 'queue' | 'deadlineMs'>): Promise<Finding> {
  if (queue === '') return skipped('GLIMPSE_QUEUE is not set: one process receives and answers questions')
  const { sqsClient } = await loadPart('GLIMPSE_QUEUE', SQS_PACKAGES, () => import('../queue/sqs.ts'))
  const client = sqsClient(queue) // a SetupError names the setting to change
  const name = new URL(queue).pathname.split('/').at(-1)!
  const input = { QueueUrl: queue, AttributeNames: ['All' as const] }
  const response = await client.getQueueAttributes(input).catch((error: Error) => error)
  if (response instanceof Error)
    return fail(
      `${name} did not answer: ${response.name}`,
      'Check GLIMPSE_QUEUE, AWS_REGION, and that the role has sqs:GetQueueAttributes.',
    )
  const { FifoQueue, VisibilityTimeout, ApproximateNumberOfMessages, RedrivePolicy } =
    response.Attributes ?? {}
  if (FifoQueue !== 'true')
    return fail(
      `${name} is not a FIFO queue`,
      'Create a queue whose name ends in .fifo: it keeps the order of the questions in a thread.',
    )
  if (!RedrivePolicy)
    return fail(
      `${name} has no dead-letter queue`,
      'Set its RedrivePolicy. Without one, a question that cannot be answered returns for days.',
    )
  const { maxReceiveCount } = redrive.parse(JSON.parse(RedrivePolicy))
  const found = `${name}: ${ApproximateNumberOfMessages} waiting, VisibilityTimeout ${VisibilityTimeout} s, maxReceiveCount ${maxReceiveCount}`
  const visibilityS = Number(VisibilityTimeout)
  if (visibilityS < MIN_VISIBILITY_S)
    return fail(
      found,
      `Set VisibilityTimeout to ${MIN_VISIBILITY_S} s or more; otherwise a second worker receives a message the first is still answering.`,
    )
  if (visibilityS * 1000 < deadlineMs)
    return warn(
      found,
      'Enough for `glimpse work`, which sets it itself while it answers. For Lambda set 10 s more than the timeout of the function.',
    )
  if (maxReceiveCount < MIN_RECEIVES) return warn(found, `Set maxReceiveCount to ${MIN_RECEIVES} or more.`)
  return ok(found)
}

/** The remote engine's /readyz. @throws SetupError `bad_engine` for a malformed GLIMPSE_ENGINE */
export async function checkEngine(
  config: Pick<Config, 'engine' | 'apiToken' | 'deadlineMs'>,
): Promise<Finding> {
  const { engine, apiToken } = config
  // Opening makes no call.
  if (!(await openRemoteEngine(config))) return skipped('GLIMPSE_ENGINE is not set: the model runs locally')
  if (engine.startsWith('sagemaker://'))
    return skipped('a SageMaker endpoint can only be tested with a paid request')
  const { href, host } = new URL(`${engine.replace(/\/+$/, '')}/readyz`)
  const headers: Record<string, string> = apiToken === '' ? {} : { authorization: `Bearer ${apiToken}` }
  const response = await fetch(href, { headers, redirect: 'manual' }).catch((error: Error) => error)
  if (response instanceof Error) {
    const { message } = response.cause instanceof Error ? response.cause : response
    return fail(`${host} did not answer: ${message}`, 'Check GLIMPSE_ENGINE, and that Glimpse runs there.')
  }
  if (response.ok) return ok(`${host} is ready`)
  if (response.status === 503)
    return warn(`${host} answers but is not ready yet`, 'Wait for its model to load, or read its log.')
  return fail(
    `${host} answered ${response.status} at /readyz`,
    'Check that GLIMPSE_ENGINE is the address of a Glimpse server and GLIMPSE_API_TOKEN is its token.',
  )
}
