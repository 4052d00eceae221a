import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readSecrets } from '../../src/aws/secrets.ts'

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

test('what the role may not read is a matter of settings, told without a value', async () => {
  stored.set('/p/A', 'value-of-the-tests')
  forbidden.add('/p/A')
  const failed = readSecrets('/p', ['A'], options())
  await expect(failed).rejects.toMatchObject({ kind: 'setup', code: 'no_secrets' })
  await expect(failed).rejects.toThrow(/^(?!.*value-of-the-tests).*AccessDenied/)
})
