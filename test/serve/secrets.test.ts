// A session of faults, with all logs, metrics and responses recorded: none of them holds a secret. Each secret is one
// string, so that a search for it is enough.

import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor } from '../../src/chat/processor.ts'
import { readConfig, secretsOf } from '../../src/config.ts'
import { discordEndpoint } from '../../src/discord/webhook.ts'
import { BusyError, RequestError, SetupError, UpstreamError } from '../../src/errors.ts'
import { configureLog, type LogFormat, redactValues } from '../../src/observe/log.ts'
import { metricsText, resetMetrics } from '../../src/observe/metrics.ts'
import { reportAs } from '../../src/observe/report.ts'
import { startServer } from '../../src/serve/server.ts'
import { requestReceiver } from '../../src/slack/webhook.ts'
import { inMemoryStore, testLimiter } from '../chat/in-memory-store.ts'
import { measured } from '../measured.ts'
import { doubleEngine, PNG } from './double.ts'

const SECRETS = {
  apiToken: 'api-token-Qm9vbQ',
  wrongToken: 'wrong-token-T29wcw',
  slackToken: 'xoxb-1111-2222-abcdef',
  signingSecret: 'signing-secret-5f4dcc',
  question: 'who-is-this-person',
  history: 'an-earlier-answer',
  prompt: 'a-prompt-of-theirs',
  query: 'X-Amz-Signature=0a1b2c3d',
  key: 'idempotency-key-of-theirs',
  chat: 'a-question-in-a-chat',
  image: Buffer.from(PNG).toString('base64'),
}
/** An error as a third-party library would throw it. */
const foreign = () =>
  new Error(
    `GET https://bucket.s3.amazonaws.com/a.png?X-Amz-Date=1&${SECRETS.query} failed: authorization Bearer ${SECRETS.apiToken}, ${SECRETS.slackToken}`,
  )

test.each<LogFormat>(['text', 'json'])('no secret comes out, with the log as %s', async (format) => {
  let log = ''
  const received: string[] = []
  const statuses: number[] = []
  const write = (line: string) => {
    log += line
  }
  configureLog(format, { write })
  resetMetrics()
  const env = {
    GLIMPSE_API_TOKEN: SECRETS.apiToken,
    SLACK_BOT_TOKEN: SECRETS.slackToken,
    SLACK_SIGNING_SECRET: SECRETS.signingSecret,
  }
  const config = readConfig(env)
  redactValues(secretsOf(config))

  const engine = doubleEngine()
  const report = reportAs('chat_failed')
  const slack = requestReceiver({ signingSecret: SECRETS.signingSecret, report })
  const { publicKey } = generateKeyPairSync('ed25519')
  const discord = discordEndpoint({
    publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('hex'),
    sink: {} as never,
    platform: {} as never,
    preferences: {} as never,
    messageContent: false,
    report,
  })
  const server = await startServer(engine, {
    port: 0,
    token: config.apiToken,
    maxQueue: 0,
    handlers: { '/slack/events': slack.handle, '/discord/interactions': discord },
  })
  const send = async (path: string, init: RequestInit = {}, token = SECRETS.apiToken) => {
    const headers = { authorization: `Bearer ${token}`, 'idempotency-key': SECRETS.key, ...init.headers }
    const response = await fetch(server.url + path, { method: 'POST', ...init, headers })
    received.push(JSON.stringify([...response.headers]) + (await response.text()))
    statuses.push(response.status)
    return response.status
  }
  const ask = (body: unknown, token?: string) =>
    send('/v1/answer', { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }, token)
  const { question, prompt, image } = SECRETS
  const history = [{ question: SECRETS.history, answer: SECRETS.history }]

  // Requests without access.
  expect(await ask({ image, question }, SECRETS.wrongToken)).toBe(401)
  expect(await send(`/v1/model?token=${SECRETS.apiToken}`, { method: 'GET' }, 'other')).toBe(401)
  expect(await send('/slack/events', { body: JSON.stringify({ text: question, image }) })).toBe(401)
  expect(await send('/discord/interactions', { body: JSON.stringify({ content: question }) })).toBe(401)
  // Invalid requests.
  expect(await ask({ image: `${image}*`, question })).toBe(400)
  expect(await ask({ image, question, [question]: prompt })).toBe(400)
  expect(await ask(`{"image":"${image}","question":"${question}`)).toBe(400)
  expect(await ask({ image: Buffer.from('GIF89a').toString('base64'), question })).toBe(415)
  const headers = { 'content-type': 'image/png' }
  expect(await send(`/v1/caption?prompt=${prompt}&beams=1`, { body: PNG as BodyInit, headers })).toBe(400)
  expect(await send(`/v1/${question}?${SECRETS.query}`)).toBe(404)
  // Failures.
  for (const [error, status] of [
    [new UpstreamError('engine_failed', 'The engine elsewhere did not answer.', { cause: foreign() }), 502],
    [new SetupError('no_bucket', 'Expected a bucket.', { cause: foreign() }), 500],
    [new BusyError('restarting', 'The model stopped.', { cause: foreign() }), 503],
    [new RequestError('damaged_picture', 'Expected a whole picture.', { cause: foreign() }), 422],
    [foreign(), 500],
  ] as const) {
    engine.fail(error)
    expect(await ask({ image, question, history })).toBe(status)
  }
  engine.fail(undefined)
  // Too many at once, and another request with a key that is taken.
  engine.hold()
  const first = ask({ image, question })
  await expect.poll(() => engine.pending).toBe(1)
  expect(await ask({ image, question })).toBe(429)
  engine.release()
  expect(await first).toBe(200)
  received.pop()
  expect(await ask({ image, question: 'another' })).toBe(422)
  await chatThatFails(report)
  const metrics = (await metricsText()).text
  await server.close()

  // Every refusal and every fault is counted.
  const refused = statuses.filter((status) => status === 503 || (status >= 400 && status < 500))
  const faults = statuses.filter((status) => status === 500 || status === 502)
  expect(await measured('glimpse_rejected_total')).toBe(refused.length)
  // Two more in the chat.
  expect(await measured('glimpse_faults_total')).toBe(faults.length + 2)
  expect(await measured('glimpse_webhooks_total', { outcome: 'bad_signature' })).toBe(2)
  expect(await measured('glimpse_chat_replies_total', { platform: 'test', outcome: 'problem' })).toBe(1)
  expect(log.split('\n').length).toBeGreaterThan(15)
  const all = [log, metrics, ...received].join('\n')
  for (const [name, secret] of Object.entries(SECRETS)) {
    // The name of an unknown field is in the response, not in the log.
    const where = name === 'question' ? [log, metrics].join('\n') : all
    expect(where.includes(secret), name).toBe(false)
  }
})

/** A picture that cannot be fetched from a URL with a signature in it. */
async function chatThatFails(report: (error: unknown) => void): Promise<void> {
  const store = inMemoryStore()
  const failing = async () => {
    throw new UpstreamError('picture_unreachable', 'Expected a picture but none came.', { cause: foreign() })
  }
  const platform: Platform = {
    name: 'test',
    localeOf: async () => 'en',
    parentPictures: async () => ({ pictures: [] }),
    fetchPicture: failing,
    startTyping: async () => {},
    stopTyping: async () => {},
    post: async ({ id }) => [{ id }],
    findPosted: async () => undefined,
    deleteReply: async () => {},
  }
  const processor = openProcessor({
    engine: Promise.resolve(doubleEngine()),
    store,
    platforms: [platform],
    rateLimiter: testLimiter({ perMinute: 4, perHour: 20 }),
    preferences: openPreferences(store),
    maxQueue: 8,
    keepMs: 3_600_000,
    report,
  })
  await processor.submit({
    id: 'test/1',
    platform: 'test',
    trigger: 'mention',
    asker: { id: 'ann', locale: 'en' },
    text: SECRETS.chat,
    channel: 'c',
    conversations: ['c/1'],
    pictures: [{ id: 'p', url: `https://files.example/p?${SECRETS.query}` }],
    askedAt: Date.now(),
    isToUs: true,
    replyTo: 'r',
  } as never)
  await processor.drained()
  report(new UpstreamError('picture_unreachable', 'Expected a picture but none came.', { cause: foreign() }))
}
