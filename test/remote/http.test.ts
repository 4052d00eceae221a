import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { BusyError } from '../../src/errors.ts'
import { sha256Hex } from '../../src/hash.ts'
import { log } from '../../src/observe/log.ts'
import { openHttpEngine } from '../../src/remote/http.ts'
import { needsToken, openRemoteEngine } from '../../src/remote/open.ts'
import { createApp } from '../../src/serve/routes.ts'
import { openUploads } from '../../src/serve/s3-uploads.ts'
import { CAPTION, type Double, doubleEngine, PNG } from '../serve/double.ts'
import { startS3Double } from '../store/s3-double.ts'
import { until } from '../until.ts'

const servers: Server[] = []
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

/** Another Glimpse, as it answers over HTTP. */
async function glimpse(engine: Double, maxQueue = 8): Promise<string> {
  const app = createApp(engine, { maxQueue, report: () => {} })
  return await new Promise((resolve) => {
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () =>
      resolve(urlOf(server as Server)),
    )
    servers.push(server as Server)
  })
}

interface Answer {
  status: number
  body: unknown
  headers?: Record<string, string>
}

/** A server with scripted responses, and the requests with a picture that it received. */
async function script(...answers: Answer[]) {
  const asked: { path: string; authorization?: string; body: Record<string, unknown> }[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { authorization } = request.headers
      const sent = JSON.parse(Buffer.concat(chunks).toString())
      // It knows no picture by its name.
      if (sent.picture !== undefined) {
        return void response.writeHead(404).end(JSON.stringify(problem('picture_forgotten')))
      }
      asked.push({ path: request.url!, authorization, body: sent })
      const { status, body, headers } = answers.length > 1 ? answers.shift()! : answers[0]!
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      response.writeHead(status, headers).write(text)
      // Less than was announced: the connection closes.
      if (Number(headers?.['content-length']) > text.length) setImmediate(() => response.destroy())
      else response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  return { url: urlOf(server), asked }
}

const problem = (code: string) => ({ error: { code, message: 'Because.', retry: true } })
const open = (url: string, options: Partial<Parameters<typeof openHttpEngine>[0]> = {}) =>
  openHttpEngine({ url, token: '', deadlineMs: 600_000, firstWaitMs: 5, ...options })
const REPLY = {
  text: 'a cat',
  token_ids: [1],
  sequences: [{ text: 'a cat', token_ids: [1] }],
  prompt: '',
  timings_ms: { queue: 0, image: 1, pixels: 1, vision: 1, queries: 1, tokens: 1, total: 5 },
  model: 'blip2',
  picture: 'ab'.repeat(32),
}

test('says what the other says: a caption, an answer with its history', async () => {
  const double = doubleEngine()
  const engine = open(await glimpse(double))
  const pieces: string[] = []
  const caption = await engine.answer({ image: PNG, question: '' }, { onToken: (text) => pieces.push(text) })
  expect(caption.text).toBe(CAPTION)
  expect(pieces.join('')).toBe(CAPTION)
  const history = [{ question: 'what?', answer: 'apples' }]
  const answer = await engine.answer({ image: PNG, question: 'how many?', history })
  expect(answer.text).toBe('answer 2 to how many?')
  expect(double.asks.at(-1)).toMatchObject({ question: 'how many?', history, picture: caption.picture })
})

test('sends the token, and the picture as base64', async () => {
  const { url, asked } = await script({ status: 200, body: REPLY })
  await open(url, { token: 'secret-of-the-tests' }).answer({ image: PNG })
  expect(asked).toEqual([
    {
      path: '/v1/caption',
      authorization: 'Bearer secret-of-the-tests',
      body: { image: Buffer.from(PNG).toString('base64') },
    },
  ])
})

test.each([
  [{ task: 'caption' as const }, '/v1/caption', {}],
  [{ task: 'caption' as const, prompt: 'a photo of' }, '/v1/caption', { prompt: 'a photo of' }],
  [{ prompt: 'a photo of' }, '/v1/answer', { prompt: 'a photo of' }],
  [{ task: 'answer' as const, question: 'what?' }, '/v1/answer', { question: 'what?' }],
  [
    { question: ' ', history: [{ question: 'what?', answer: 'a cat' }], deadlineMs: 60_000 },
    '/v1/caption',
    {},
  ],
])(
  'sends %j without the name of its task, which an older server does not know',
  async (fields, path, body) => {
    const { url, asked } = await script({ status: 200, body: REPLY })
    await open(url).answer({ image: PNG, ...fields })
    expect(asked).toMatchObject([{ path }])
    expect(asked[0]!.body).toEqual({ image: Buffer.from(PNG).toString('base64'), ...body })
  },
)

test('sends no task that does not exist', async () => {
  const { url, asked } = await script({ status: 200, body: REPLY })
  const refused = open(url).answer({ image: PNG, task: 'levitation' } as never)
  await expect(refused).rejects.toMatchObject({ code: 'bad_field' })
  expect(asked).toEqual([])
})

test('tells the asker what is wrong with the picture in the words of the other', async () => {
  const engine = open(await glimpse(doubleEngine()))
  await expect(engine.answer({ image: new Uint8Array([1, 2, 3]) })).rejects.toMatchObject({
    kind: 'request',
    code: 'not_a_picture',
  })
})

test.each([
  [422, 'of_a_later_version', { kind: 'request', code: 'refused_elsewhere', message: 'Because.' }],
  [400, 'deadline', { kind: 'request', code: 'refused_elsewhere', message: 'Because.' }],
  [503, 'of_a_later_version', { kind: 'busy', code: 'busy', message: 'Because.' }],
])(
  '%i with the code %s, unknown here, has a stand-in and is written to the log',
  async (status, code, error) => {
    const warn = vi.spyOn(log, 'warn').mockReturnValue()
    const { url } = await script({ status, body: problem(code), headers: { 'retry-after': '60' } })
    // The wait that is named is longer: it fails at once.
    await expect(open(url, { deadlineMs: 10_000 }).answer({ image: PNG })).rejects.toMatchObject(error)
    expect(warn).toHaveBeenCalledWith('unknown_code', expect.objectContaining({ code: error.code }), {
      theirs: code,
    })
  },
)

test('names a picture first, and sends its bytes only when the other Glimpse does not know it', async () => {
  const engine = doubleEngine()
  const url = await glimpse(engine)
  for (const sent of [['picture', 'image'], ['picture']]) {
    engine.asks.splice(0)
    const remote = openHttpEngine({ url, token: '', deadlineMs: 60_000 })
    expect((await remote.answer({ image: PNG })).text).toBe(CAPTION)
    expect(engine.asks.map(({ image }) => (image ? 'image' : 'picture'))).toEqual(sent)
  }
})

test('asks for the bytes where the other does not know a picture by its name', async () => {
  const engine = open(await glimpse(doubleEngine()))
  const picture = 'ab'.repeat(32)
  await expect(engine.answer({ picture, question: 'what?' })).rejects.toMatchObject({
    code: 'picture_forgotten',
  })
})

test.each([429, 502, 503])('asks again after %s, when the other says', async (status) => {
  const { url, asked } = await script({ status, body: problem('busy') }, { status: 200, body: REPLY })
  expect((await open(url).answer({ image: PNG })).text).toBe('a cat')
  expect(asked).toHaveLength(2)
})

test('asks again when a reply breaks off', async () => {
  const cut = { status: 200, body: '{"text":', headers: { 'content-length': '1000' } }
  const { url, asked } = await script(cut, { status: 200, body: REPLY })
  expect((await open(url).answer({ image: PNG })).text).toBe('a cat')
  expect(asked).toHaveLength(2)
})

test('does not ask again where that is said to be later than the deadline', async () => {
  const { url, asked } = await script({
    status: 429,
    body: problem('busy'),
    headers: { 'retry-after': '60' },
  })
  const failed = open(url).answer({ image: PNG, deadlineMs: 10_000 })
  await expect(failed).rejects.toBeInstanceOf(BusyError)
  await expect(failed).rejects.toMatchObject({ code: 'busy' })
  expect(asked).toHaveLength(1)
})

test.each([
  ['https://glimpse.example.com', true],
  ['https://abc.lambda-url.eu-central-1.on.aws/', false],
  ['sagemaker://blip2?bucket=state', false],
  ['', false],
])('whether %s checks the token: %s', (engine, checks) => {
  expect(needsToken(engine)).toBe(checks)
})

test('names a refused token as a matter of settings', async () => {
  const { url } = await script({ status: 401, body: problem('no_token') })
  await expect(open(url).answer({ image: PNG })).rejects.toMatchObject({
    kind: 'setup',
    code: 'engine_refused',
  })
})

test.each([
  ['nobody listens', 'http://127.0.0.1:9', undefined],
  ['the other fails', undefined, { status: 500, body: problem('internal') }],
  ['something else answers', undefined, { status: 200, body: '<html>' }],
])('says that the engine failed when %s', async (_, given, answer) => {
  const url = given ?? (await script(answer!)).url
  // The first wait is longer than the deadline: it is not tried again.
  const failed = open(url, { deadlineMs: 10_000, firstWaitMs: 20_000 }).answer({ image: PNG })
  await expect(failed).rejects.toMatchObject({ kind: 'upstream', code: 'engine_failed' })
})

test('ends at its deadline, and the other ends the run', async () => {
  const double = doubleEngine()
  const engine = open(await glimpse(double))
  await engine.answer({ image: PNG })
  double.hold()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const late = engine.answer({ image: PNG, deadlineMs: 200 })
  await expect.poll(() => double.pending).toBe(1)
  vi.advanceTimersByTime(200)
  await expect(late).rejects.toMatchObject({ code: 'deadline' })
  await expect.poll(() => double.aborted).toBe(1)
  expect(engine.pending).toBe(0)
})

test('ends when its asker leaves, and when it is closed', async () => {
  const double = doubleEngine()
  double.hold()
  const engine = open(await glimpse(double))
  const leaving = new AbortController()
  const left = engine.answer({ image: PNG }, { signal: leaving.signal })
  const closed = engine.answer({ image: PNG })
  const outcomes = Promise.allSettled([left, closed])
  // The other takes one after another.
  await expect.poll(() => double.pending).toBe(1)
  leaving.abort()
  await engine.close()
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'cancelled' } })
  await expect(engine.answer({ image: PNG })).rejects.toMatchObject({ code: 'cancelled' })
})

describe('a picture that is too large for a request', () => {
  const large = new Uint8Array(5_000_000)
  large.set(PNG)

  test('goes through the uploads of the server, as it is', async () => {
    const s3 = await startS3Double()
    const uploads = openUploads(`s3://${s3.bucket}/uploads`, {
      region: 'eu-central-1',
      endpoint: s3.endpoint,
      forcePathStyle: true,
      credentials: { accessKeyId: 'a', secretAccessKey: 'test' },
    })
    const double = doubleEngine()
    const sizes: number[] = []
    const app = createApp(double, { uploads, report: () => {} })
    const server = serve({
      fetch: (request: Request) => {
        sizes.push(Number(request.headers.get('content-length') ?? 0))
        return app.fetch(request)
      },
      port: 0,
      hostname: '127.0.0.1',
    }) as Server
    servers.push(server)
    await until(() => server.listening)
    const engine = openHttpEngine({ url: urlOf(server), token: '', deadlineMs: 10_000 })
    const { text, picture } = await engine.answer({ image: large, question: 'what?' })
    expect(text).toContain('to what?')
    expect(picture).toBe(sha256Hex(large))
    expect(sha256Hex(double.asks.at(-1)!.image!)).toBe(sha256Hex(large))
    // Lambda takes 6 MB.
    expect(Math.max(...sizes)).toBeLessThan(1_000)
    expect(s3.objects.size).toBe(0)
    s3.close()
  })

  test('is in the request to a server without uploads', async () => {
    const double = doubleEngine()
    const engine = openHttpEngine({ url: await glimpse(double), token: '', deadlineMs: 10_000 })
    expect((await engine.answer({ image: large })).picture).toBe(sha256Hex(large))
  })
})

test('the URL of a Lambda function gets a signature of the role in place of the token', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDEXAMPLE')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
  vi.stubEnv('AWS_SESSION_TOKEN', 'session')
  const asked: { url: string; headers: Record<string, string> }[] = []
  vi.stubGlobal('fetch', async (url: string, { headers }: { headers: Record<string, string> }) => {
    asked.push({ url, headers })
    return Response.json({ error: { code: 'bad_json', message: 'No.' } }, { status: 400 })
  })
  const engine = await openRemoteEngine({
    engine: 'https://abc.lambda-url.eu-central-1.on.aws/',
    apiToken: 'secret',
    deadlineMs: 1_000,
  })
  await expect(engine!.answer({ image: PNG }))
    .rejects.toMatchObject({ code: 'picture_forgotten' })
    .catch(() => {})
  const [{ url, headers } = expect.fail('Nothing was sent.')] = asked
  expect(url).toBe('https://abc.lambda-url.eu-central-1.on.aws/v1/caption')
  expect(headers['authorization']).toMatch(
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/lambda\/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
  )
  expect(headers['x-amz-security-token']).toBe('session')
  expect(JSON.stringify(headers)).not.toContain('secret')
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
})
