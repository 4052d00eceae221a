// The functions `answer`, `notice` and `brake`, each with only the files of its zip: a question that an endpoint answers later,
// and an exceeded budget. Slack is emulate; SQS, S3, the endpoint and the control plane are doubles.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { SQSBatchResponse } from 'aws-lambda'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApp } from '../../src/serve/routes.ts'
import { askSqs, eventOf, type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { type EndpointDouble, startEndpoint } from '../remote/endpoint-double.ts'
import { doubleEngine } from '../serve/double.ts'
import { BOT_TOKEN, envelope, SECRET, type SlackHarness, startSlackHarness } from '../slack/harness.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { type Installed, installFunctions, type Running, slackEvent } from './lambda.ts'
import { ROOT } from './packaged.ts'

let slack: SlackHarness
let sqs: SqsDouble
let s3: S3Double
let endpoint: EndpointDouble
let control: Server
let installed: Installed
let state: string
const running: Running[] = []
/** Requests to the control plane: `PUT /path`, with the body. */
const changes: { what: string; body: unknown }[] = []

beforeAll(async () => {
  slack = await startSlackHarness({ engine: doubleEngine() })
  sqs = await startSqsDouble()
  s3 = await startS3Double()
  endpoint = await startEndpoint(s3, createApp(doubleEngine(), { report: () => {} }))
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
  control = createServer(async (request, response) => {
    const target = request.headers['x-amz-target'] ?? request.url
    changes.push({ what: `${request.method} ${target}`, body: JSON.parse(await text(request)) })
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))
  installed = await installFunctions()
})
afterAll(async () => {
  for (const each of running) each.stop()
  await installed?.remove()
  await slack?.close()
  await sqs?.close()
  s3?.close()
  endpoint?.close()
  control?.close()
  await rm(state, { recursive: true, force: true })
})

function start(name: string, env: Record<string, string> = {}): Running {
  const started = installed.start(name, {
    GLIMPSE_QUEUE: sqs.url,
    GLIMPSE_STATE: state,
    GLIMPSE_ENGINE: `sagemaker://blip2?bucket=${s3.bucket}&prefix=sagemaker&notice=sns`,
    GLIMPSE_DEADLINE_MS: '660000',
    SLACK_BOT_TOKEN: BOT_TOKEN,
    SLACK_SIGNING_SECRET: SECRET,
    SLACK_API_URL: slack.responseUrl.replace(/response$/, 'api/'),
    AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME: endpoint.url,
    ...env,
  })
  running.push(started)
  return started
}

const receive = async () =>
  (await askSqs(sqs, 'ReceiveMessage', { MaxNumberOfMessages: 1, VisibilityTimeout: 60 })).Messages ?? []

test('a question waits in the queue while a GPU starts, and is answered after the notice of the endpoint', async () => {
  endpoint.asleep = true
  const ts = await slack.upload(slack.ann, [
    await readFile(join(ROOT, 'models/demo/crab-and-helicopter.png')),
  ])
  const found = await slack.ann.conversations.history({
    channel: slack.channel,
    latest: ts,
    inclusive: true,
    limit: 1,
  })
  const event = {
    ...found.messages![0],
    type: 'message',
    subtype: 'file_share',
    text: `<@${slack.botId}>`,
    channel: slack.channel,
    channel_type: 'channel',
  }
  await start('slack').invoke(slackEvent(envelope(slack.team, event), SECRET))

  const answer = start('answer')
  const [first] = await receive()
  const later = (await answer.invoke(eventOf([first!]))) as SQSBatchResponse
  expect(later, answer.lines().join('\n')).toEqual({
    batchItemFailures: [{ itemIdentifier: first!.MessageId }],
  })
  // Hidden for as long as the endpoint may take; nothing was posted.
  sqs.pass(600_000)
  expect(await receive()).toEqual([])
  const replies = async () => (await slack.thread(ts)).filter(({ user }) => user === slack.botId)
  expect(await replies()).toEqual([])

  await endpoint.wake()
  const inferenceId = String(endpoint.invoked[0]!.headers['x-amzn-sagemaker-inference-id'])
  const body = JSON.stringify({ invocationStatus: 'Completed', inferenceId })
  await start('notice', { GLIMPSE_SECRETS: '' }).invoke({ Records: [{ body }] })
  const [second] = await receive()
  expect(second?.MessageId).toBe(first!.MessageId)
  expect(await answer.invoke(eventOf([second!])), answer.lines().join('\n')).toEqual({
    batchItemFailures: [],
  })
  expect(await replies()).toHaveLength(1)
  expect(endpoint.invoked).toHaveLength(1)
  expect([...s3.objects.keys()]).toEqual([])
})

test('an exceeded budget sets concurrency and instances to zero', async () => {
  const url = `http://127.0.0.1:${(control.address() as AddressInfo).port}`
  const plan = { functions: ['g-answer', 'g-http'], managed: 'g-model', variant: 'endpoint/g/variant/only' }
  await start('brake', {
    GLIMPSE_BRAKE: JSON.stringify(plan),
    AWS_ENDPOINT_URL_LAMBDA: url,
    AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING: url,
  }).invoke({ Records: [] })
  expect(changes.sort((one, other) => one.what.localeCompare(other.what))).toEqual([
    {
      what: 'POST AnyScaleFrontendService.RegisterScalableTarget',
      body: {
        ServiceNamespace: 'sagemaker',
        ScalableDimension: 'sagemaker:variant:DesiredInstanceCount',
        ResourceId: 'endpoint/g/variant/only',
        MinCapacity: 0,
        MaxCapacity: 0,
        SuspendedState: { DynamicScalingOutSuspended: true, ScheduledScalingSuspended: true },
      },
    },
    {
      what: 'PUT /2017-10-31/functions/g-answer/concurrency',
      body: { ReservedConcurrentExecutions: 0 },
    },
    { what: 'PUT /2017-10-31/functions/g-http/concurrency', body: { ReservedConcurrentExecutions: 0 } },
    {
      what: 'PUT /2025-11-30/functions/g-model/function-scaling-config?Qualifier=%24LATEST.PUBLISHED',
      body: { FunctionScalingConfig: { MinExecutionEnvironments: 0, MaxExecutionEnvironments: 0 } },
    },
  ])
})
