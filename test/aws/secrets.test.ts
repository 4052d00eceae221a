// GLIMPSE_SECRETS and names -> secrets of a double of the SSM parameter store.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/app/config.ts'
import { readSecrets } from '../../src/app/secrets.ts'
import { SECRET_NAMES } from '../../src/config.ts'

/** Parameters in the double of the store. */
const stored = new Map<string, string>()
/** Names that the role may not read. */
const forbidden = new Set<string>()
/** Requests to the store. */
const requests: { Names: string[]; WithDecryption: boolean }[] = []
let server: Server
const options = () => ({
  region: 'eu-central-1',
  endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
})

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const input = JSON.parse(await text(request)) as (typeof requests)[number]
    requests.push(input)
    const type = { 'content-type': 'application/x-amz-json-1.1' }
    if (input.Names.some((name) => forbidden.has(name))) {
      return response.writeHead(400, type).end('{"__type":"AccessDeniedException","message":"no"}')
    }
    const Parameters = input.Names.filter((name) => stored.has(name)).map((Name) => ({
      Name,
      Value: stored.get(Name),
    }))
    response.writeHead(200, type).end(JSON.stringify({ Parameters }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(() => void server.close())
beforeEach(() => {
  stored.clear()
  forbidden.clear()
  requests.length = 0
})

test('reads each secret from <path>/<name>, decrypted', async () => {
  stored.set('/glimpse/prod/SLACK_BOT_TOKEN', 'xoxb-of-the-tests')
  const found = await readSecrets('/glimpse/prod/', ['SLACK_BOT_TOKEN', 'DISCORD_TOKEN'], options())
  expect(found).toEqual({ SLACK_BOT_TOKEN: 'xoxb-of-the-tests' })
  expect(requests).toEqual([
    { Names: ['/glimpse/prod/SLACK_BOT_TOKEN', '/glimpse/prod/DISCORD_TOKEN'], WithDecryption: true },
  ])
})

test('requests at most ten names at a time', async () => {
  const names = Array.from({ length: 23 }, (_, index) => `NAME_${index}`)
  for (const name of names) stored.set(`/p/${name}`, name)
  expect(Object.keys(await readSecrets('/p', names, options()))).toEqual(names)
  expect(requests.map(({ Names }) => Names.length)).toEqual([10, 10, 3])
})

test('without names, reads every secret that the role may read, and fails if it may read none', async () => {
  vi.stubEnv('GLIMPSE_SECRETS', '/p')
  vi.stubEnv('AWS_REGION', 'eu-central-1')
  vi.stubEnv('AWS_ENDPOINT_URL_SSM', options().endpoint)
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'a')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'b')
  for (const name of SECRET_NAMES) stored.set(`/p/${name}`, `${name} of the tests`)
  for (const name of SECRET_NAMES.filter((each) => each !== 'GLIMPSE_API_TOKEN')) forbidden.add(`/p/${name}`)
  const { apiToken, slackBotToken } = await loadConfig()
  expect([apiToken, slackBotToken]).toEqual(['GLIMPSE_API_TOKEN of the tests', ''])
  forbidden.add('/p/GLIMPSE_API_TOKEN')
  await expect(loadConfig()).rejects.toMatchObject({ code: 'no_secrets' })
  vi.unstubAllEnvs()
})

test('a forbidden secret is a setup error without the value', async () => {
  stored.set('/p/A', 'value-of-the-tests')
  forbidden.add('/p/A')
  const failed = readSecrets('/p', ['A'], options())
  await expect(failed).rejects.toMatchObject({ kind: 'setup', code: 'no_secrets' })
  await expect(failed).rejects.toThrow(/^(?!.*value-of-the-tests).*AccessDenied/)
})
