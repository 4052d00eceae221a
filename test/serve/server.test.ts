// The server over real sockets: ports, connections, and how it stops.

import { request } from 'node:http'
import { afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { SetupError } from '../../src/errors.ts'
import { MAX_PICTURE_BYTES } from '../../src/image/format.ts'
import { configureLog } from '../../src/observe/log.ts'
import { type RunningServer, type ServerOptions, startServer } from '../../src/serve/server.ts'
import { CAPTION, doubleEngine, PNG } from './double.ts'

beforeAll(() => configureLog('json', { write: () => {} }))

const running: RunningServer[] = []
afterEach(async () => {
  for (const server of running.splice(0)) await server.close()
})

async function start(options: ServerOptions = {}) {
  const engine = doubleEngine()
  const server = await startServer(engine, { port: 0, ...options })
  running.push(server)
  const caption = (path = '/v1/caption', signal?: AbortSignal) =>
    fetch(server.url + path, {
      method: 'POST',
      body: PNG as BodyInit,
      headers: { 'content-type': 'image/png' },
      signal,
    })
  return { engine, server, caption }
}

test('port 0 takes a free port on this machine only, and answers there', async () => {
  const { server, caption } = await start()
  expect(server.url).toBe(`http://127.0.0.1:${server.port}`)
  expect(await (await caption()).json()).toMatchObject({ text: CAPTION })
})

test('a taken port is a SetupError that says which and how to choose another', async () => {
  const { server } = await start()
  const second = startServer(doubleEngine(), { port: server.port })
  await expect(second).rejects.toThrow(SetupError)
  await expect(second).rejects.toThrow(new RegExp(`Port ${server.port} on 127.0.0.1 is taken.*--port`))
})

test('an address of another machine is a SetupError', async () => {
  await expect(startServer(doubleEngine(), { port: 0, host: '192.0.2.1' })).rejects.toThrow(/192.0.2.1/)
})

test('closing lets the running request finish, refuses others, then closes the engine, once', async () => {
  const { engine, server, caption } = await start({ graceMs: 600_000 })
  engine.hold()
  const last = caption()
  await expect.poll(() => engine.pending).toBe(1)
  const closed = Promise.all([server.close(), server.close()])
  const ping = await fetch(`${server.url}/ping`)
  expect([ping.status, ping.headers.get('connection')]).toEqual([503, 'close'])
  const late = await caption()
  expect([late.status, late.headers.get('connection')]).toEqual([503, 'close'])
  expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(engine.closed).toBe(false)
  engine.release()
  expect(await (await last).json()).toMatchObject({ text: CAPTION })
  await closed
  expect(engine.closed).toBe(true)
})

test('closing answers 503 to requests that run past the grace', async () => {
  const { engine, server, caption } = await start({ graceMs: 1_000 })
  engine.hold()
  const last = caption()
  await expect.poll(() => engine.pending).toBe(1)
  // With fake timers the test decides how long the response may take.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const closed = server.close()
  await vi.advanceTimersByTimeAsync(780)
  expect(engine.aborted).toBe(0)
  await vi.advanceTimersByTimeAsync(20)
  const response = await last
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ error: { code: 'stopping', retry: true } })
  expect(engine.aborted).toBe(1)
  await expect.poll(() => vi.advanceTimersByTimeAsync(20).then(() => engine.closed)).toBe(true)
  await closed
})

test.each(['/v1/caption', '/v1/caption?stream=true'])(
  'a connection that breaks aborts the run of %s',
  async (path) => {
    const { engine, caption } = await start()
    engine.hold()
    const client = new AbortController()
    const answer = caption(path, client.signal)
    answer.catch(() => {})
    await expect.poll(() => engine.pending).toBe(1)
    client.abort()
    await expect.poll(() => engine.aborted).toBe(1)
  },
)

test('a client that sends too much, without a length, still gets the reason', async () => {
  const { engine, server } = await start()
  const status = await new Promise((resolve, reject) => {
    const headers = { 'content-type': 'image/png', 'transfer-encoding': 'chunked' }
    const sending = request(`${server.url}/v1/caption`, { method: 'POST', headers })
    sending.on('response', (response) => resolve(response.resume().statusCode))
    sending.on('error', reject)
    sending.end(Buffer.alloc(MAX_PICTURE_BYTES + 1))
  })
  expect(status).toBe(413)
  expect(engine.asks).toHaveLength(0)
})

test('the server survives bytes that are not HTTP', async () => {
  const { server, caption } = await start()
  const { connect } = await import('node:net')
  const socket = connect(server.port, '127.0.0.1', () => socket.end('\x00\x01garbage\r\n\r\n'))
  await new Promise((resolve) => socket.on('close', resolve).resume())
  expect((await caption()).status).toBe(200)
})

test('closing ends although the engine does not', async () => {
  const { engine, server } = await start({ graceMs: 100 })
  engine.close = () => new Promise(() => {})
  await server.close()
  await expect(fetch(`${server.url}/ping`)).rejects.toThrow()
})

test('the chats have the engine until they have stopped', async () => {
  let end = () => {}
  const alongside = new Promise<void>((resolve) => {
    end = resolve
  })
  const { engine, server } = await start({ graceMs: 600_000, stopAlso: () => alongside })
  const closed = server.close()
  for (let i = 0; i < 3; i++) expect((await fetch(`${server.url}/ping`)).status).toBe(503)
  expect(engine.closed).toBe(false)
  end()
  await closed
  expect(engine.closed).toBe(true)
})

test('the log warns once when others can send requests without a token', async () => {
  const lines: string[] = []
  configureLog('json', { write: (line) => void lines.push(line) })
  const warnings = () => lines.filter((line) => line.includes('GLIMPSE_API_TOKEN')).length
  await start()
  await start({ host: '0.0.0.0', token: 'token-of-this-test' })
  expect(warnings()).toBe(0)
  const { caption } = await start({ host: '0.0.0.0' })
  await caption()
  expect(warnings()).toBe(1)
})
