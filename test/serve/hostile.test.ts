// Bytes that no honest client sends, over real sockets. Each request is refused and its connection closed; the server runs on.

import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { type RunningServer, startServer } from '../../src/serve/server.ts'
import { measured } from '../measured.ts'
import { CAPTION, type Double, doubleEngine, PNG } from './double.ts'

const TIMEOUT_MS = 400
const PATIENT_MS = 100_000
let server: RunningServer
/** A server that waits for slow senders no longer than TIMEOUT_MS. */
let impatient: RunningServer
let engine: Double

beforeAll(async () => {
  configureLog('json', { write: () => {} })
  resetMetrics()
  engine = doubleEngine()
  server = await startServer(engine, { port: 0, headersMs: PATIENT_MS, requestMs: PATIENT_MS })
  impatient = await startServer(engine, { port: 0, headersMs: TIMEOUT_MS, requestMs: 2 * TIMEOUT_MS })
})
afterAll(() => Promise.all([server.close(), impatient.close()]))

/** Sends the pieces, with pauses if `to` is impatient. Returns the bytes received until the server closes. */
function exchange(pieces: readonly string[], { to = server, end = false } = {}): Promise<string> {
  return new Promise((resolve) => {
    let received = ''
    const socket = connect(to.port, '127.0.0.1')
    socket.setEncoding('latin1')
    socket.on('data', (text) => {
      received += text
    })
    // The server is expected to close while the test still writes.
    socket.on('error', () => {})
    socket.on('close', () => resolve(received))
    const say = async () => {
      for (const piece of pieces) {
        if (socket.destroyed || received !== '') return
        socket.write(piece, 'latin1')
        if (to === impatient) await new Promise((next) => setTimeout(next, TIMEOUT_MS / 8))
      }
      if (end) socket.end()
    }
    void say()
  })
}

const post = (headers: string, body = '') =>
  `POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}\r\n${body}`
const json = (body: string) => post(`Content-Length: ${body.length}\r\nConnection: close\r\n`, body)
const base64 = Buffer.from(PNG).toString('base64')

const cases: [string, () => Promise<string>, number, string][] = [
  [
    'headers that never end',
    () => exchange([post('').slice(0, -2), ...Array(100).fill('X-A: b\r\n')], { to: impatient }),
    408,
    'too_slow',
  ],
  [
    'a body that never ends',
    () => exchange([post('Content-Length: 500\r\n'), ...Array(100).fill(' ')], { to: impatient }),
    408,
    'too_slow',
  ],
  ['a header of 64 KiB', () => exchange([post(`X-A: ${'b'.repeat(65_536)}\r\n`)]), 431, 'headers_too_large'],
  [
    'an invalid chunk',
    () => exchange([post('Transfer-Encoding: chunked\r\n', 'zz\r\n{}\r\n')]),
    400,
    'bad_http',
  ],
  [
    'two lengths at once',
    () => exchange([post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')]),
    400,
    'bad_http',
  ],
  ['an invalid length', () => exchange([post('Content-Length: 1e3\r\n', '{}')]), 400, 'bad_http'],
  ['bytes that are not HTTP', () => exchange(['\x16\x03\x01 a TLS handshake\r\n\r\n']), 400, 'bad_http'],
  [
    'more than its length',
    () => exchange([post('Content-Length: 2\r\n', '{}and more\r\n\r\n')]),
    400,
    'bad_http',
  ],
  [
    'JSON 100,000 deep',
    () => exchange([json(`{"image":"${base64}","a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`)]),
    400,
    'bad_field',
  ],
  ['invalid base64', () => exchange([json('{"image":"a*b="}')]), 400, 'bad_base64'],
  [
    'a picture that says it is too large',
    () => exchange([post('Content-Length: 99999999\r\nConnection: close\r\n')]),
    413,
    'picture_too_large',
  ],
]

test.each(cases)('%s is refused, counted, and its connection closed', async (_, send, status, reason) => {
  const before = await measured('glimpse_rejected_total', { reason })
  const received = await send()
  expect(received).toMatch(`HTTP/1.1 ${status} `)
  expect(received).toMatch(`"code":"${reason}"`)
  expect(await measured('glimpse_rejected_total', { reason })).toBe(before + 1)
})

test('a body shorter than its length frees its slot when the client disconnects', async () => {
  expect(await exchange([post('Content-Length: 500\r\n', '{"ima')], { end: true })).not.toMatch('200 OK')
  const one = await fetch(`${server.url}/readyz`)
  expect(await one.json()).toMatchObject({ load: 0 })
})

test('brackets inside strings do not count as nesting', async () => {
  const body = JSON.stringify({ image: base64, question: `is "${'['.repeat(20)}" \\"{"a":1} the same?` })
  const response = await fetch(`${server.url}/v1/answer`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  })
  expect(response.status).toBe(200)
})

test('afterwards the server answers', async () => {
  expect(engine.asks).toHaveLength(1)
  const body = PNG as BodyInit
  const headers = { 'content-type': 'image/png' }
  const response = await fetch(`${server.url}/v1/caption`, { method: 'POST', body, headers })
  expect(await response.json()).toMatchObject({ text: CAPTION })
})
