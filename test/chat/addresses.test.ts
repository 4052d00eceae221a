// Server-side request forgery: forms of an address that led other services into their own network. None opens a connection,
// neither as a picture's address nor as the target of a redirect. The tests check where connections are opened.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { download } from '../../src/chat/download.ts'

const SOURCE = { hosts: ['files.example.org', '.example.net'], token: 'secret' }

const FORMS = [
  // This machine and its network, in digits of every kind.
  'https://127.0.0.1/a.png',
  'https://127.1/a.png',
  'https://2130706433/a.png',
  'https://0x7f000001/a.png',
  'https://0x7f.0.0.1/a.png',
  'https://0177.0.0.1/a.png',
  'https://017700000001/a.png',
  'https://0/a.png',
  'https://0.0.0.0/a.png',
  'https://10.0.0.1/a.png',
  'https://172.16.0.1/a.png',
  'https://192.168.1.1/a.png',
  'https://100.64.0.1/a.png',
  'https://169.254.169.254/latest/meta-data/',
  'https://2852039166/latest/meta-data/',
  'https://0xa9fea9fe/latest/meta-data/',
  'https://169.254.170.2/v2/credentials/',
  'https://[::1]/a.png',
  'https://[::]/a.png',
  'https://[::ffff:127.0.0.1]/a.png',
  'https://[::ffff:7f00:1]/a.png',
  'https://[::127.0.0.1]/a.png',
  'https://[64:ff9b::7f00:1]/a.png',
  'https://[2002:7f00:1::]/a.png',
  'https://[fd00:ec2::254]/latest/meta-data/',
  'https://[fe80::1]/a.png',
  // Names of it, and names that mean it.
  'https://localhost/a.png',
  'https://LOCALHOST./a.png',
  'https://localhost.localdomain/a.png',
  'https://metadata.google.internal/computeMetadata/v1/',
  'https://127.0.0.1.nip.io/a.png',
  // Names that look like the platform's.
  'https://files.example.org.evil.example/a.png',
  'https://evil.example/files.example.org',
  'https://evil.example#files.example.org',
  'https://evil.example\\@files.example.org/a.png',
  'https://filesXexample.org/a.png',
  'https://xexample.net/a.png',
  'https://example.net/a.png',
  'https://files.example.org./a.png',
  'https://\u24d5iles.example.org.evil.example/a.png',
  // The right name, in a way that is not it.
  'https://user@files.example.org/a.png',
  'https://files.example.org@127.0.0.1/a.png',
  'https://files.example.org:22/a.png',
  'https://files.example.org:8443/a.png',
  'http://files.example.org/a.png',
  'ftp://files.example.org/a.png',
  'gopher://files.example.org/a.png',
  'ws://files.example.org/a.png',
  'file:///etc/passwd',
  'data:image/png;base64,iVBORw0KGgo=',
  'blob:https://files.example.org/1',
  'javascript:0',
  '//127.0.0.1/a.png',
  'https:///a.png',
  'https://',
  'a.png\r\nhost: evil.example',
]

const connected: string[] = []
const onConnect = (message: unknown) => {
  connected.push((message as { connectParams: { host: string } }).connectParams.host)
}
let location = ''
const server = createServer((_, response) => response.writeHead(302, { location: encodeURI(location) }).end())
let origin: string
beforeAll(async () => {
  subscribe('undici:client:beforeConnect', onConnect)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  unsubscribe('undici:client:beforeConnect', onConnect)
  server.closeAllConnections()
  server.close()
})

test('connections are seen where they begin', async () => {
  await fetch(origin, { redirect: 'manual' })
  expect(connected).toEqual([new URL(origin).host])
  connected.length = 0
})

test.each(FORMS)('no connection to %s', async (url) => {
  await expect(download(url, SOURCE)).rejects.toMatchObject({ code: 'picture_forbidden' })
  expect(connected).toEqual([])
})

test.each(FORMS)('no connection by a redirect to %s', async (url) => {
  location = url
  await expect(download(`${origin}/a.png`, { ...SOURCE, testOrigin: origin })).rejects.toMatchObject({
    code: 'picture_forbidden',
  })
  expect(connected.filter((host) => host !== new URL(origin).host)).toEqual([])
})
