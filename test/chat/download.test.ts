// Fetching a picture: which hosts get the token, which URLs are refused, and the code of each failure.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { download } from '../../src/chat/download.ts'
import { MAX_PICTURE_BYTES } from '../../src/image/format.ts'
import { PNG } from '../serve/double.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void
let answer: Answer
const asked: { url: string; token?: string }[] = []
const server = createServer((request, response) => {
  asked.push({ url: request.url!, token: request.headers.authorization })
  answer(request, response)
})
let origin: string
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  asked.length = 0
  pauses.length = 0
})
const pauses: number[] = []
const fetchPicture = (path = '/a.png', timeoutMs?: number) =>
  download(`${origin}${path}`, {
    hosts: ['files.example.org'],
    token: 'secret',
    testOrigin: origin,
    timeoutMs,
    sleep: async (ms) => void pauses.push(ms),
  })

test('returns the bytes and sends the token to the platform’s host', async () => {
  answer = (_, response) => response.end(PNG)
  expect(await fetchPicture()).toEqual(PNG)
  expect(asked).toEqual([{ url: '/a.png', token: 'Bearer secret' }])
})

test('follows a redirect to the platform’s host with the token', async () => {
  answer = (request, response) =>
    request.url === '/b.png' ? response.end(PNG) : response.writeHead(302, { location: '/b.png' }).end()
  expect(await fetchPicture()).toEqual(PNG)
  expect(asked.map(({ token }) => token)).toEqual(['Bearer secret', 'Bearer secret'])
})

test.each([
  'http://127.0.0.1:9/',
  'http://169.254.169.254/latest/meta-data/',
  'https://files.example.org.evil.example/',
  'https://user@files.example.org/',
  'https://files.example.org:8443/',
  'http://files.example.org/',
  'file:///etc/passwd',
  'javascript:0',
  '',
])('does not follow a redirect to %s', async (location) => {
  answer = (_, response) => response.writeHead(302, { location }).end()
  await expect(fetchPicture()).rejects.toMatchObject({ code: 'picture_forbidden' })
})

test('does not follow redirects for ever', async () => {
  answer = (_, response) => response.writeHead(302, { location: '/a.png' }).end()
  await expect(fetchPicture()).rejects.toMatchObject({ code: 'picture_forbidden' })
  expect(asked.length).toBeLessThan(6)
})

test.each(['http://localhost/x.png', 'https://evil.example/x.png', 'nonsense', '//files.example.org/x'])(
  'does not fetch %s',
  async (url) => {
    const source = { hosts: ['files.example.org', '.example.net'], token: 'secret' }
    await expect(download(url, source)).rejects.toMatchObject({ code: 'picture_forbidden' })
  },
)

describe('fails with a code', () => {
  test.each([
    [404, 'picture_gone'],
    [410, 'picture_gone'],
    [401, 'picture_forbidden'],
    [403, 'picture_forbidden'],
    [500, 'picture_unreachable'],
    [429, 'picture_unreachable'],
  ])('for %i', async (status, code) => {
    answer = (_, response) => response.writeHead(status).end()
    await expect(fetchPicture()).rejects.toMatchObject({ code })
  })

  test.each([
    [404, 'picture_gone'],
    [302, 'picture_forbidden'],
  ])('for %i with a body that broke off', async (status, code) => {
    const broken = () => new ReadableStream({ start: (stream) => stream.error(new Error('ECONNRESET')) })
    const headers = { location: 'https://other.example/' }
    vi.stubGlobal('fetch', async () => new Response(broken(), { status, headers }))
    onTestFinished(() => void vi.unstubAllGlobals())
    await expect(fetchPicture()).rejects.toMatchObject({ code })
  })

  test('for a login page', async () => {
    answer = (_, response) => response.end('<!DOCTYPE html><html><body>Sign in</body></html>')
    await expect(fetchPicture()).rejects.toMatchObject({ code: 'picture_forbidden' })
  })

  test('for a Content-Length that is too large', async () => {
    answer = (_, response) => response.writeHead(200, { 'content-length': MAX_PICTURE_BYTES + 1 }).end()
    await expect(fetchPicture()).rejects.toMatchObject({ code: 'picture_too_large' })
  })

  test('for a body that is too large, without reading all of it', async () => {
    let sentBytes = 0
    answer = (_, response) => {
      const chunk = Buffer.alloc(1024 * 1024)
      const push = () => {
        while (!response.destroyed && sentBytes < 200 * chunk.length) {
          sentBytes += chunk.length
          if (!response.write(chunk)) return void response.once('drain', push)
        }
      }
      push()
    }
    await expect(fetchPicture()).rejects.toMatchObject({ code: 'picture_too_large' })
    expect(sentBytes).toBeLessThan(60 * 1024 * 1024)
  })

  test('for a response that takes too long', async () => {
    answer = () => {}
    await expect(fetchPicture('/slow.png', 200)).rejects.toMatchObject({ code: 'picture_unreachable' })
  })

  test('for a connection that breaks off', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': 1000 })
      response.write(PNG, () => response.destroy())
    }
    await expect(fetchPicture()).rejects.toMatchObject({ code: 'picture_unreachable' })
  })
})

test('retries what may succeed the next time', async () => {
  answer = (_, response) => (asked.length < 3 ? response.writeHead(503).end() : response.end(PNG))
  expect(await fetchPicture()).toEqual(PNG)
  expect(pauses).toEqual([500, 1_000])
})
