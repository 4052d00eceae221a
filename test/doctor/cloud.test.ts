// What is said of secrets, the queue and a model elsewhere.

import { beforeEach, describe, expect, test, vi } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { checkEngine, checkQueue, lookAtSecrets } from '../../src/doctor/cloud.ts'
import { SetupError } from '../../src/errors.ts'
import { type Answer, httpStub } from './http-stub.ts'

beforeEach(() => {
  vi.stubEnv('AWS_REGION', 'eu-west-1')
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'a')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'b')
  return () => vi.unstubAllEnvs()
})

describe('secrets', () => {
  test('are told by name, never by value', async () => {
    const read = async () => ({ SLACK_BOT_TOKEN: 'xoxb-1-abcdef' })
    const { finding, values } = await lookAtSecrets('/glimpse/prod', read)
    expect(finding).toEqual({ status: 'ok', found: 'SLACK_BOT_TOKEN below /glimpse/prod' })
    expect(values).toEqual({ SLACK_BOT_TOKEN: 'xoxb-1-abcdef' })
  })

  test('that this role may not read hide none that it may', async () => {
    const read = async (_: string, [name]: readonly string[]) => {
      const cause = Object.assign(new Error('no'), { name: 'AccessDeniedException' })
      if (name !== 'DISCORD_TOKEN') throw new SetupError('no_secrets', 'Expected to read it.', { cause })
      return { DISCORD_TOKEN: 'abcdef' }
    }
    const { finding, values } = await lookAtSecrets('/glimpse/prod', read)
    expect([finding.status, values]).toEqual(['ok', { DISCORD_TOKEN: 'abcdef' }])
  })

  test('that are not there are warned of, that may not be read fail, unset are skipped', async () => {
    expect((await lookAtSecrets('/glimpse/prod', async () => ({}))).finding.status).toBe('warn')
    const refused = async () => {
      throw new SetupError('no_secrets', 'Expected to read them but SSM said AccessDeniedException.')
    }
    expect((await lookAtSecrets('/glimpse/prod', refused)).finding.status).toBe('fail')
    expect((await lookAtSecrets('')).finding.status).toBe('skipped')
  })
})

describe('the queue', () => {
  const GOOD = {
    FifoQueue: 'true',
    VisibilityTimeout: '720',
    ApproximateNumberOfMessages: '3',
    RedrivePolicy: JSON.stringify({
      deadLetterTargetArn: 'arn:aws:sqs:eu-west-1:1:dead.fifo',
      maxReceiveCount: 5,
    }),
  }
  const queue = async (answer: Answer) => {
    const url = await httpStub((request) =>
      request.headers['x-amz-target'] === 'AmazonSQS.GetQueueAttributes' ? answer : { status: 400 },
    )
    vi.stubEnv('AWS_ENDPOINT_URL_SQS', url)
    return await checkQueue(readConfig({ GLIMPSE_QUEUE: `${url}/1/glimpse.fifo` }))
  }

  test('in order, with a dead-letter queue and time to answer, is well', async () => {
    expect(await queue({ body: { Attributes: GOOD } })).toEqual({
      status: 'ok',
      found: 'glimpse.fifo: 3 waiting, hidden for 720 s, 5 tries',
    })
  })

  test.each([
    ['that is not first in, first out', { FifoQueue: undefined }, 'fail', 'no FIFO queue'],
    ['without a dead-letter queue', { RedrivePolicy: undefined }, 'fail', 'no dead-letter queue'],
    [
      'that shows a message again before it can be answered',
      { VisibilityTimeout: '30' },
      'fail',
      'hidden for 30 s',
    ],
    [
      'that hides a message for less than an answer may take',
      { VisibilityTimeout: '60' },
      'warn',
      'hidden for 60 s',
    ],
    [
      'that gives up soon',
      { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: 'arn', maxReceiveCount: 1 }) },
      'warn',
      '1 tries',
    ],
  ])('%s', async (_, other, status, words) => {
    const { status: said, found } = await queue({ body: { Attributes: { ...GOOD, ...other } } })
    expect([said, found]).toEqual([status, expect.stringContaining(words)])
  })

  test('that is not there fails with the reason', async () => {
    const error = { __type: 'com.amazonaws.sqs#QueueDoesNotExist', message: 'The queue does not exist.' }
    const { status, found } = await queue({ status: 400, body: error })
    expect([status, found]).toEqual(['fail', expect.stringContaining('QueueDoesNotExist')])
  })

  test('unset is skipped, no address refused', async () => {
    const of = async (GLIMPSE_QUEUE: string) => (await checkQueue(readConfig({ GLIMPSE_QUEUE }))).status
    expect(await of('')).toBe('skipped')
    await expect(of('memory')).rejects.toMatchObject({ code: 'bad_queue' })
  })
})

describe('a model elsewhere', () => {
  const engine = (url: string) =>
    checkEngine(readConfig({ GLIMPSE_ENGINE: url, GLIMPSE_API_TOKEN: 'a-token' }))

  test.each([
    [200, 'ok'],
    [503, 'warn'],
    [401, 'fail'],
  ])('that answers %i: %s', async (status, said) => {
    let authorization: string | undefined
    const url = await httpStub((request) => {
      authorization = request.headers.authorization
      return { status: request.url === '/readyz' ? status : 404, body: {} }
    })
    expect((await engine(url)).status).toBe(said)
    expect(authorization).toBe('Bearer a-token')
  })

  test('that is not there fails; unset and SageMaker are skipped', async () => {
    expect((await engine('http://127.0.0.1:1')).status).toBe('fail')
    expect((await engine('')).status).toBe('skipped')
    expect((await engine('here')).status).toBe('skipped')
    expect((await engine('sagemaker://glimpse?bucket=b')).status).toBe('skipped')
  })

  test('that the run does not take is not taken here either', async () => {
    for (const address of ['sagemaker://glimpse', 'ftp://glimpse.example', 'nonsense'])
      await expect(engine(address)).rejects.toMatchObject({ code: 'bad_engine' })
  })

  test('below a path is asked there', async () => {
    const url = await httpStub((request) => ({ status: request.url === '/a/readyz' ? 200 : 404, body: {} }))
    expect((await engine(`${url}/a/`)).status).toBe('ok')
  })
})
