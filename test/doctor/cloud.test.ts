// The doctor's findings about secrets, the queue and a remote engine.

import { beforeEach, describe, expect, test, vi } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { checkEngine, checkQueue, checkSecrets } from '../../src/doctor/cloud.ts'
import { SetupError } from '../../src/errors.ts'
import { type Answer, httpStub } from './http-stub.ts'

beforeEach(() => {
  vi.stubEnv('AWS_REGION', 'eu-west-1')
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'a')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'b')
  return () => vi.unstubAllEnvs()
})

describe('secrets', () => {
  test('are listed by name, never by value', async () => {
    const read = async () => ({ SLACK_BOT_TOKEN: 'xoxb-1-abcdef' })
    const use = vi.fn()
    const finding = await checkSecrets('/glimpse/prod', use, read)
    expect(finding).toEqual({ status: 'ok', found: 'SLACK_BOT_TOKEN below /glimpse/prod' })
    expect(use).toHaveBeenCalledWith({ SLACK_BOT_TOKEN: 'xoxb-1-abcdef' })
  })

  test('that the role may not read do not hide those that it may', async () => {
    const read = async (_: string, [name]: readonly string[]) => {
      const cause = Object.assign(new Error('no'), { name: 'AccessDeniedException' })
      if (name !== 'DISCORD_TOKEN') throw new SetupError('no_secrets', 'Cannot read it.', { cause })
      return { DISCORD_TOKEN: 'abcdef' }
    }
    const use = vi.fn()
    expect((await checkSecrets('/glimpse/prod', use, read)).status).toBe('ok')
    expect(use).toHaveBeenCalledWith({ DISCORD_TOKEN: 'abcdef' })
  })

  test('that are missing give a warning, that are forbidden fail, that are unset are skipped', async () => {
    const use = vi.fn()
    expect((await checkSecrets('/glimpse/prod', use, async () => ({}))).status).toBe('warn')
    const refused = async () => {
      throw new SetupError('no_secrets', 'SSM refused: AccessDeniedException.')
    }
    await expect(checkSecrets('/glimpse/prod', use, refused)).rejects.toMatchObject({ code: 'no_secrets' })
    expect((await checkSecrets('', use)).status).toBe('skipped')
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

  test('passes with FIFO order, a dead-letter queue and time to answer', async () => {
    expect(await queue({ body: { Attributes: GOOD } })).toEqual({
      status: 'ok',
      found: 'glimpse.fifo: 3 waiting, VisibilityTimeout 720 s, maxReceiveCount 5',
    })
  })

  test.each([
    ['without FIFO order', { FifoQueue: undefined }, 'fail', 'not a FIFO queue'],
    ['without a dead-letter queue', { RedrivePolicy: undefined }, 'fail', 'no dead-letter queue'],
    [
      'with a visibility timeout below the lease of a question',
      { VisibilityTimeout: '30' },
      'fail',
      'VisibilityTimeout 30 s',
    ],
    [
      'with a visibility timeout below the deadline of an answer',
      { VisibilityTimeout: '60' },
      'warn',
      'VisibilityTimeout 60 s',
    ],
    [
      'with few receives',
      { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: 'arn', maxReceiveCount: 1 }) },
      'warn',
      'maxReceiveCount 1',
    ],
  ])('%s', async (_, other, status, words) => {
    const { status: actual, found } = await queue({ body: { Attributes: { ...GOOD, ...other } } })
    expect([actual, found]).toEqual([status, expect.stringContaining(words)])
  })

  test('that does not exist fails with the reason', async () => {
    const error = { __type: 'com.amazonaws.sqs#QueueDoesNotExist', message: 'The queue does not exist.' }
    const { status, found } = await queue({ status: 400, body: error })
    expect([status, found]).toEqual(['fail', expect.stringContaining('QueueDoesNotExist')])
  })

  test('unset is skipped, a name that is no URL is refused', async () => {
    const of = async (GLIMPSE_QUEUE: string) => (await checkQueue(readConfig({ GLIMPSE_QUEUE }))).status
    expect(await of('')).toBe('skipped')
    await expect(of('memory')).rejects.toMatchObject({ code: 'bad_queue' })
  })
})

describe('a remote engine', () => {
  const engine = (url: string) =>
    checkEngine(readConfig({ GLIMPSE_ENGINE: url, GLIMPSE_API_TOKEN: 'a-token' }))

  test.each([
    [200, 'ok'],
    [503, 'warn'],
    [401, 'fail'],
  ])('that answers %i: %s', async (status, expected) => {
    let authorization: string | undefined
    const url = await httpStub((request) => {
      authorization = request.headers.authorization
      return { status: request.url === '/readyz' ? status : 404, body: {} }
    })
    expect((await engine(url)).status).toBe(expected)
    expect(authorization).toBe('Bearer a-token')
  })

  test('that does not answer fails; unset and SageMaker are skipped', async () => {
    expect((await engine('http://127.0.0.1:1')).status).toBe('fail')
    expect((await engine('')).status).toBe('skipped')
    expect((await engine('here')).status).toBe('skipped')
    expect((await engine('sagemaker://glimpse?bucket=b')).status).toBe('skipped')
  })

  test('with an address that the server refuses is refused by the doctor too', async () => {
    for (const address of ['sagemaker://glimpse', 'ftp://glimpse.example', 'nonsense'])
      await expect(engine(address)).rejects.toMatchObject({ code: 'bad_engine' })
  })

  test('below a path is called below that path', async () => {
    const url = await httpStub((request) => ({ status: request.url === '/a/readyz' ? 200 : 404, body: {} }))
    expect((await engine(`${url}/a/`)).status).toBe('ok')
  })
})
