import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { openRemoteEngine } from '../../src/remote/open.ts'
import { openSageMakerEngine, parseEndpoint } from '../../src/remote/sagemaker.ts'
import { createApp } from '../../src/serve/routes.ts'
import { CAPTION, doubleEngine, PNG } from '../serve/double.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'

/** An endpoint as SageMaker runs it: named an object, it asks the container and leaves what that says in the bucket. */
interface EndpointDouble {
  url: string
  invoked: { path: string; headers: Record<string, unknown> }[]
  /** While asleep nothing is answered; what was asked waits. */
  asleep: boolean
  wake(): Promise<void>
  close(): void
}

const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
let s3: S3Double
let endpoint: EndpointDouble
const double = doubleEngine()

async function startEndpoint(): Promise<EndpointDouble> {
  const app = createApp(double, { report: () => {} })
  const waiting: string[] = []
  const invoked: EndpointDouble['invoked'] = []
  const answer = async (key: string) => {
    const input = s3.objects.get(key)
    // Nobody waits any more: it took its ask away.
    if (!input) return
    const { question } = JSON.parse(input.bytes.toString())
    const response = await app.request(question === undefined ? '/v1/caption' : '/v1/answer', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: input.bytes.toString(),
    })
    const text = await response.text()
    const name = key.split('/').at(-1)!
    // As the documentation of asynchronous endpoints shows a failure.
    const failure = `Received client error (${response.status}) from primary with message "${text.replaceAll('"', '\\"')}". See https://console for more.`
    const [place, said] = response.ok
      ? [`sagemaker/out/${name}`, text]
      : [`sagemaker/failed/${name}`, failure]
    s3.objects.set(place, { bytes: Buffer.from(said), etag: '"x"', metadata: {}, modifiedMs: Date.now() })
  }
  const self = { asleep: false }
  const server = createServer(async (request, response) => {
    await buffer(request)
    if (!request.url!.startsWith('/endpoints/blip2/')) {
      const type = { 'x-amzn-errortype': 'ValidationError', 'content-type': 'application/json' }
      return response.writeHead(400, type).end('{"message":"Endpoint not found"}')
    }
    invoked.push({ path: request.url!, headers: request.headers })
    const key = String(request.headers['x-amzn-sagemaker-inputlocation']).replace(`s3://${s3.bucket}/`, '')
    const name = key.split('/').at(-1)!
    response.writeHead(202, {
      'content-type': 'application/json',
      'x-amzn-sagemaker-outputlocation': `s3://${s3.bucket}/sagemaker/out/${name}`,
      'x-amzn-sagemaker-failurelocation': `s3://${s3.bucket}/sagemaker/failed/${name}`,
    })
    response.end('{"InferenceId":"x"}')
    if (self.asleep) waiting.push(key)
    else await answer(key)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(self, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    invoked,
    async wake() {
      self.asleep = false
      for (const key of waiting.splice(0)) await answer(key)
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
}

beforeAll(async () => {
  s3 = await startS3Double()
  endpoint = await startEndpoint()
})
afterAll(() => {
  s3.close()
  endpoint.close()
})
beforeEach(() => {
  endpoint.invoked.length = 0
  s3.objects.clear()
})

const open = (name = 'blip2', deadlineMs = 600_000) =>
  openSageMakerEngine(
    { name, bucket: s3.bucket, prefix: 'sagemaker' },
    {
      deadlineMs,
      firstWaitMs: 5,
      s3: {
        region: 'eu-central-1',
        endpoint: s3.endpoint,
        forcePathStyle: true,
        credentials,
        retryMs: 1,
      },
      client: { region: 'eu-central-1', endpoint: endpoint.url, credentials, maxAttempts: 1 },
    },
  )

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

test('people are told to wait as long as the endpoint may take', () => {
  expect(open('blip2', 600_000).maxWaitMs).toBe(600_000)
})

test('reads the address of an endpoint', () => {
  expect(parseEndpoint('sagemaker://glimpse-prod?bucket=b&prefix=/s/m/')).toEqual({
    name: 'glimpse-prod',
    bucket: 'b',
    prefix: 's/m',
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
