// The function `http`, with only the files of its zip and its layers: it needs nothing that Lambda does not mount.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../until.ts'
import { apiEvent, type Installed, installFunctions, type Running } from './lambda.ts'
import { ROOT } from './packaged.ts'

const TOKEN = 'token-of-the-tests'
let installed: Installed
let http: Running
let state: string
let ssm: Server
/** Parameters in the double of the SSM parameter store. */
const stored = new Map([['/glimpse/test/GLIMPSE_API_TOKEN', TOKEN]])
/** Names in each request to the store. */
const requested: string[][] = []

interface Answer {
  statusCode: number
  body: string
  headers: Record<string, string>
}
const call = async (running: Running, ...event: Parameters<typeof apiEvent>) =>
  (await running.invoke(apiEvent(...event))) as Answer
const start = (env: Record<string, string> = {}) =>
  installed.start('http', {
    GLIMPSE_STATE: state,
    GLIMPSE_LOG: 'json',
    GLIMPSE_METRICS: 'emf',
    GLIMPSE_SECRETS: '/glimpse/test',
    AWS_ENDPOINT_URL_SSM: `http://127.0.0.1:${(ssm.address() as AddressInfo).port}`,
    ...env,
  })
const picture = () => readFile(join(ROOT, 'models/demo/sunflower-basketball-watermelon.png'))
const authorization = `Bearer ${TOKEN}`

beforeAll(async () => {
  ssm = createServer(async (request, response) => {
    const { Names } = JSON.parse((await buffer(request)).toString()) as { Names: string[] }
    requested.push(Names)
    const known = Names.filter((name) => stored.has(name))
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' })
    response.end(JSON.stringify({ Parameters: known.map((Name) => ({ Name, Value: stored.get(Name) })) }))
  })
  await new Promise<void>((resolve) => ssm.listen(0, '127.0.0.1', resolve))
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
  installed = await installFunctions()
  http = start()
  // The function answers 503 until the model is open.
  await until(async () => (await call(http, 'GET', '/readyz')).statusCode === 200)
})

afterAll(async () => {
  http.stop()
  ssm.close()
  await installed.remove()
  await rm(state, { recursive: true, force: true })
})

test('captions a picture in an HTTP API event with the model in the layers', async () => {
  const headers = { authorization, 'content-type': 'image/png' }
  const answer = await call(http, 'POST', '/v1/caption', { body: await picture(), headers })
  expect(answer.statusCode).toBe(200)
  const { text, model } = JSON.parse(answer.body)
  expect(model).toBe('glimpse-pico')
  expect(text).toContain('sunflower')
})

test('answers a question about a picture, in JSON and in a form', async () => {
  const image = await picture()
  const question = 'What colour is the background?'
  const form = new FormData()
  form.append('image', new Blob([image as BlobPart]))
  form.append('question', question)
  for (const body of [JSON.stringify({ image: image.toString('base64'), question }), form]) {
    const sent = new Request('http://localhost', { method: 'POST', body })
    const type = typeof body === 'string' ? 'application/json' : sent.headers.get('content-type')!
    const headers = { authorization, 'content-type': type }
    const event = { body: new Uint8Array(await sent.arrayBuffer()), headers }
    const answer = await call(http, 'POST', '/v1/answer', event)
    expect(JSON.parse(answer.body).text).toContain('yellow')
  }
})

test('answers /healthz and /readyz without a token, and refuses /v1 without the right token', async () => {
  expect((await call(http, 'GET', '/healthz')).statusCode).toBe(200)
  expect(JSON.parse((await call(http, 'GET', '/readyz')).body)).toMatchObject({ ready: true })
  const headers = { 'content-type': 'image/png' }
  const none = await call(http, 'POST', '/v1/caption', { body: await picture(), headers })
  expect(none.statusCode).toBe(401)
  const wrong = { ...headers, authorization: 'Bearer another' }
  expect(
    (await call(http, 'POST', '/v1/caption', { body: await picture(), headers: wrong })).statusCode,
  ).toBe(401)
})

test('requests only its own secret from the parameter store, once', () => {
  expect(requested).toEqual([['/glimpse/test/GLIMPSE_API_TOKEN']])
})

test('writes its metrics as EMF lines for CloudWatch, and never the token', async () => {
  const lines = http.lines()
  const metrics = lines.filter((line) => line.startsWith('{"_aws"')).map((line) => JSON.parse(line))
  expect(metrics.length).toBeGreaterThan(0)
  for (const line of metrics) expect(line.function).toBe('glimpse-test-http')
  expect(metrics.some((line) => line.glimpse_requests_total === 1 && line.outcome === 'ok')).toBe(true)
  expect(lines.join('\n')).not.toContain(TOKEN)
})

test('refuses every request while no token is stored', async () => {
  stored.clear()
  const open = start()
  const headers = { authorization, 'content-type': 'image/png' }
  const answer = await call(open, 'POST', '/v1/caption', { body: await picture(), headers })
  expect(answer.statusCode).toBe(500)
  expect(JSON.parse(answer.body).error.code).toBe('no_api_token')
  open.stop()
})
