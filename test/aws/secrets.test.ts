import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/app/config.ts'
import { readSecrets } from '../../src/app/secrets.ts'
import { SECRET_NAMES } from '../../src/config.ts'

/** A parameter store: what it holds, and what this role may not read. */
const stored = new Map<string, string>()
const forbidden = new Set<string>()
const asked: { Names: string[]; WithDecryption: boolean }[] = []
let server: Server
const options = () => ({
  region: 'eu-central-1',
  endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
})

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const input = JSON.parse(await text(request)) as (typeof asked)[number]
    asked.push(input)
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
  asked.length = 0
})

test('a secret is the parameter of its name below the path, decrypted', async () => {
  stored.set('/glimpse/prod/SLACK_BOT_TOKEN', 'xoxb-of-the-tests')
  const found = await readSecrets('/glimpse/prod/', ['SLACK_BOT_TOKEN', 'DISCORD_TOKEN'], options())
  expect(found).toEqual({ SLACK_BOT_TOKEN: 'xoxb-of-the-tests' })
  expect(asked).toEqual([
    { Names: ['/glimpse/prod/SLACK_BOT_TOKEN', '/glimpse/prod/DISCORD_TOKEN'], WithDecryption: true },
  ])
})

test('many are asked for ten at a time', async () => {
  const names = Array.from({ length: 23 }, (_, index) => `NAME_${index}`)
  for (const name of names) stored.set(`/p/${name}`, name)
  expect(Object.keys(await readSecrets('/p', names, options()))).toEqual(names)
  expect(asked.map(({ Names }) => Names.length)).toEqual([10, 10, 3])
})

test('a process that is told no names gets all that its role may read, and fails where that is nothing', async () => {
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

test('what the role may not read is a matter of settings, told without a value', async () => {
  stored.set('/p/A', 'value-of-the-tests')
  forbidden.add('/p/A')
  const failed = readSecrets('/p', ['A'], options())
  await expect(failed).rejects.toMatchObject({ kind: 'setup', code: 'no_secrets' })
  await expect(failed).rejects.toThrow(/^(?!.*value-of-the-tests).*AccessDenied/)
})
