import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { parseEndpoint } from '../../src/remote/endpoint.ts'
import { openRemoteEngine } from '../../src/remote/open.ts'
import { openWaiting } from '../../src/remote/waiting.ts'
import { createApp } from '../../src/serve/routes.ts'
import { CAPTION, doubleEngine, PNG } from '../serve/double.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { until } from '../until.ts'
import { type EndpointDouble, openEndpoint, s3Options, startEndpoint } from './endpoint-double.ts'

let s3: S3Double
let endpoint: EndpointDouble
const double = doubleEngine()

beforeAll(async () => {
  s3 = await startS3Double()
  endpoint = await startEndpoint(s3, createApp(double, { report: () => {} }))
})
afterAll(() => {
  s3.close()
  endpoint.close()
})
beforeEach(() => {
  endpoint.invoked.length = 0
  s3.objects.clear()
})

const open = (name?: string, deadlineMs?: number, hasNotice?: boolean) =>
  openEndpoint(s3, endpoint, name, deadlineMs, hasNotice)

test('answers by way of the bucket, and leaves nothing in it', async () => {
  const engine = open()
  expect((await engine.answer({ image: PNG, question: '' })).text).toBe(CAPTION)
  const history = [{ question: 'what?', answer: 'apples' }]
  expect((await engine.answer({ image: PNG, question: 'how many?', history })).text).toBe(
    'answer 2 to how many?',
  )
  expect(s3.objects.size).toBe(0)
  expect(endpoint.invoked.map(({ path }) => path)).toEqual(
    new Array(2).fill('/endpoints/blip2/async-invocations'),
  )
})

test('waits for an endpoint that sleeps: nothing that was asked is lost', async () => {
  endpoint.asleep = true
  const engine = open()
  const answers = Promise.all([
    engine.answer({ image: PNG }),
    engine.answer({ image: PNG, question: 'what?' }),
  ])
  await expect.poll(() => endpoint.invoked.length).toBe(2)
  expect(engine.pending).toBe(2)
  await endpoint.wake()
  expect((await answers).map(({ text }) => text)).toEqual([CAPTION, 'answer 1 to what?'])
  expect(s3.objects.size).toBe(0)
})

test('gives up at the deadline, which SageMaker knows too, and takes its ask away', async () => {
  endpoint.asleep = true
  const engine = open()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const late = engine.answer({ image: PNG, deadlineMs: 300 })
  await expect.poll(() => endpoint.invoked.length).toBe(1)
  vi.advanceTimersByTime(300)
  await expect(late).rejects.toMatchObject({ code: 'deadline' })
  expect(s3.objects.size).toBe(0)
  expect(endpoint.invoked[0]!.headers).toMatchObject({
    'x-amzn-sagemaker-requestttlseconds': '60',
    'x-amzn-sagemaker-invocationtimeoutseconds': '1',
  })
  await endpoint.wake()
})

test('ends when its asker leaves', async () => {
  endpoint.asleep = true
  const leaving = new AbortController()
  const left = open().answer({ image: PNG }, { signal: leaving.signal })
  const outcome = expect(left).rejects.toMatchObject({ code: 'cancelled' })
  await expect.poll(() => endpoint.invoked.length).toBe(1)
  leaving.abort()
  await outcome
  await endpoint.wake()
})

test("tells what the container said of the picture, out of SageMaker's words around it", async () => {
  await expect(open().answer({ image: new Uint8Array([1, 2, 3]) })).rejects.toMatchObject({
    kind: 'request',
    code: 'not_a_picture',
  })
  expect(s3.objects.size).toBe(0)
})

test('asks for the bytes at once where there are none', async () => {
  await expect(open().answer({ picture: 'ab'.repeat(32), question: 'what?' })).rejects.toMatchObject({
    code: 'picture_forgotten',
  })
  expect(endpoint.invoked).toEqual([])
})

test('names an endpoint that is not there as a matter of settings, and takes its ask away', async () => {
  await expect(open('other').answer({ image: PNG })).rejects.toMatchObject({
    kind: 'setup',
    code: 'engine_refused',
  })
  expect(s3.objects.size).toBe(0)
})

test('says that the engine failed when the bucket does', async () => {
  s3.fault(/^PUT sagemaker\/in/, 500, 9)
  await expect(open().answer({ image: PNG })).rejects.toMatchObject({ code: 'engine_failed' })
  s3.fault(/^PUT sagemaker\/in/, 500, 0)
})

test('a reply that breaks off on its way is fetched again', async () => {
  s3.plan(/^GET sagemaker\/out/, { kind: 'reset', after: 10 })
  expect((await open().answer({ image: PNG })).text).toBe(CAPTION)
  expect(s3.objects.size).toBe(0)
})

test('a bucket that is gone is a matter of settings, and is not waited for', async () => {
  endpoint.asleep = true
  s3.misbehave = (asked) =>
    asked.startsWith('GET') ? { kind: 'status', status: 404, code: 'NoSuchBucket' } : undefined
  await expect(open('blip2').answer({ image: PNG })).rejects.toMatchObject({
    kind: 'setup',
    code: 'no_bucket',
    message: expect.stringContaining('GLIMPSE_ENGINE'),
  })
  s3.misbehave = () => undefined
  await endpoint.wake()
})

describe('with notices', () => {
  const waiting = () =>
    openWaiting({ bucket: s3.bucket, prefix: 'sagemaker' }, { ...s3Options(s3), retryMs: 1 })
  const idOf = (at: number) => String(endpoint.invoked[at]!.headers['x-amzn-sagemaker-inference-id'])
  const about = (text: string) => ({ image: PNG, question: text })

  test('a request of a job ends with `waiting`, and finds its result when it is repeated after the notice', async () => {
    endpoint.asleep = true
    const engine = open('blip2', 600_000, true)
    const job = { job: 'slack/T/C/1.1' }
    await expect(engine.answer(about('what?'), job)).rejects.toMatchObject({ code: 'waiting' })
    expect(await waiting().hold(job.job, 'handle')).toBe(false)
    // A redelivery before the notice sends nothing again.
    await expect(engine.answer(about('what?'), job)).rejects.toMatchObject({ code: 'waiting' })
    expect(endpoint.invoked).toHaveLength(1)
    expect(endpoint.invoked[0]!.headers['x-amzn-sagemaker-requestttlseconds']).toBe('600')
    expect(await waiting().messageOf(idOf(0))).toBeUndefined()
    await endpoint.wake()
    expect(await waiting().messageOf(idOf(0))).toBe('handle')
    expect((await engine.answer(about('what?'), job)).text).toContain('to what?')
    await waiting().clear(job.job)
    expect(s3.objects.size).toBe(0)
  })

  test('a result that comes before the message is held needs no notice', async () => {
    const engine = open('blip2', 600_000, true)
    await expect(engine.answer(about('what?'), { job: 'a' })).rejects.toMatchObject({ code: 'waiting' })
    expect(await waiting().hold('a', 'handle')).toBe(true)
  })

  test('a job with several requests is shown after the last of them, also when one failed', async () => {
    endpoint.asleep = true
    const engine = open('blip2', 600_000, true)
    const bad = { image: new Uint8Array([1, 2, 3]), question: 'what?' }
    await expect(engine.answer(about('what?'), { job: 'a' })).rejects.toMatchObject({ code: 'waiting' })
    await expect(engine.answer(bad, { job: 'a' })).rejects.toMatchObject({ code: 'waiting' })
    await waiting().hold('a', 'handle')
    await endpoint.wakeOne()
    expect(await waiting().messageOf(idOf(0))).toBeUndefined()
    await endpoint.wake()
    expect(await waiting().messageOf(idOf(1))).toBe('handle')
    expect((await engine.answer(about('what?'), { job: 'a' })).text).toContain('to what?')
    await expect(engine.answer(bad, { job: 'a' })).rejects.toMatchObject({ code: 'not_a_picture' })
  })

  test('a result that never comes ends at the deadline, and another job waits for its own', async () => {
    endpoint.asleep = true
    const engine = open('blip2', 1, true)
    await expect(
      engine.answer({ ...about('what?'), deadlineMs: 10_000 }, { job: 'a' }),
    ).rejects.toMatchObject({ code: 'waiting' })
    await until(async () => {
      const error = await engine
        .answer({ ...about('what?'), deadlineMs: 10_000 }, { job: 'a' })
        .catch((each) => each)
      return error.code === 'deadline'
    })
    await expect(
      engine.answer({ ...about('what?'), deadlineMs: 10_000 }, { job: 'b' }),
    ).rejects.toMatchObject({
      code: 'waiting',
    })
    await endpoint.wake()
  })
})

test('people are told to wait as long as the endpoint may take', () => {
  expect(open('blip2', 600_000).maxWaitMs).toBe(600_000)
})

test('reads the address of an endpoint', () => {
  expect(parseEndpoint('sagemaker://glimpse-prod?bucket=b&prefix=/s/m/')).toEqual({
    name: 'glimpse-prod',
    bucket: 'b',
    prefix: 's/m',
    hasNotice: false,
  })
})

test.each(['sagemaker://x', 'sagemaker:x?bucket=b', 'ftp://x', 'https://'])(
  'refuses the address %s',
  async (engine) => {
    await expect(openRemoteEngine({ engine, apiToken: '', deadlineMs: 1 })).rejects.toMatchObject({
      code: 'bad_engine',
    })
  },
)
