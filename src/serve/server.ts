// The app on a port of this machine. By default nobody outside the machine reaches it.

import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { Engine } from '../engine/engine.ts'
import { RequestError, SetupError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { problemOf, statusOf } from './problem.ts'
import { type AppOptions, createApp } from './routes.ts'
import { createWebhookApp } from './webhook-app.ts'

export interface ServerOptions extends Omit<AppOptions, 'stopping' | 'hardStop' | 'addressOf'> {
  /** Default 127.0.0.1; 0.0.0.0 in a container. */
  host?: string
  /** Default 8080; 0 takes a free one. */
  port?: number
  /** How long `close()` takes at most, all in all. Default 7.5 s: Cloud Run and docker kill after 10 s. */
  graceMs?: number
  /** What else ends while the last asks are answered, and needs the engine for it: the chats. */
  stopAlso?: (graceMs: number) => Promise<void>
  /** By when a request's headers, and all of it, must have come. Defaults 10 s and 60 s. */
  headersMs?: number
  requestMs?: number
}

export interface RunningServer {
  /** `http://127.0.0.1:8080`, to be opened in a browser. */
  url: string
  port: number
  /**
   * Says to health checks and new asks that it stops, lets running asks finish, cancels the rest (503) and closes the
   * engine, all within `graceMs`.
   */
  close(): Promise<void>
}

const DEFAULT_HOST = '127.0.0.1'
const DEFAULT_PORT = 8080
/** With some left of the 8 s that are wanted for a machine that is busy. */
const DEFAULT_GRACE_MS = 7_500
/** Of the grace, what asks may take; after it they are cancelled, and the engine has the rest to close. */
const ASKS_SHARE = 0.8
/** For the answers that say so to get out. */
const FLUSH_MS = 300
/** A healthy engine closes in less, however little of the grace is left. */
const ENGINE_MS = 200
/** Slow senders hold a place in the queue: their headers, and all of their request, must come within these. */
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 60_000
/** Longer than load balancers keep an idle connection (AWS: 60 s): else one sends into a connection as we close it. */
const KEEP_ALIVE_MS = 65_000
/** Node looks for slow senders every 30 s otherwise. */
const CHECK_MS = 1_000
/** How often it is looked whether the last answer is out while stopping. */
const SWEEP_MS = 20

/**
 * Listens, then resolves. The engine may still be opening; should it fail to, `close()` still works.
 * @throws SetupError when the port or host cannot be had.
 * @example const server = await startServer(engine, { port: 0 }); process.once('SIGTERM', server.close)
 */
export async function startServer(
  engine: Engine | Promise<Engine>,
  options: ServerOptions = {},
): Promise<RunningServer> {
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, graceMs = DEFAULT_GRACE_MS, ...rest } = options
  const { headersMs = HEADERS_TIMEOUT_MS, requestMs = REQUEST_TIMEOUT_MS, stopAlso, ...appOptions } = rest
  const stopping = new AbortController()
  const hardStop = new AbortController()
  const app = createApp(engine, {
    ...appOptions,
    hosts: [...(appOptions.hosts ?? []), host],
    stopping: stopping.signal,
    hardStop: hardStop.signal,
    addressOf: (env) => (env as { incoming?: IncomingMessage }).incoming?.socket.remoteAddress,
  })
  const { server, openResponses, boundPort } = await listenWith(app.fetch, {
    host,
    port,
    headersMs,
    requestMs,
  })
  if (!isLocal(host) && !appOptions.token) log.warn('no_api_token', noTokenWarning(host))

  const stop = async () => {
    const endsAt = performance.now() + graceMs
    log.info('stopping', { asks: openResponses.size })
    stopping.abort()
    const others = stopAlso?.(graceMs * ASKS_SHARE)
    // Still listening: whoever comes now is told to go elsewhere, not cut off.
    const isDone = () => openResponses.size === 0
    await Promise.all([
      until(isDone, graceMs * ASKS_SHARE),
      waitAtMost(others, performance.now() + graceMs * ASKS_SHARE),
    ])
    if (!isDone()) {
      hardStop.abort()
      await until(isDone, FLUSH_MS)
    }
    // Closing the port cuts off who waits in the kernel to be let in: right after a poll, which is when immediates run,
    // hardly anybody does. Whoever was let in at the last moment still hears it.
    await new Promise((resolve) => setImmediate(resolve))
    const isClosed = new Promise<void>((resolve) => server.close(() => resolve()))
    await waitAtMost(isClosed, performance.now() + FLUSH_MS)
    server.closeAllConnections()
    // One that is stuck in a long native call, or still opening, is left to the end of the process.
    const closed = Promise.resolve(engine).then((open) => open.close())
    await waitAtMost(closed, Math.max(endsAt, performance.now() + ENGINE_MS))
  }
  return running(host, boundPort, stop)
}

interface Listening {
  server: Server
  /** Answers that are not out yet. */
  openResponses: ReadonlySet<ServerResponse>
  /** The port. */
  boundPort: number
}

/** @throws SetupError when the port or host cannot be had. */
async function listenWith(
  fetch: (request: Request, env: unknown) => Response | Promise<Response>,
  {
    host,
    port,
    headersMs,
    requestMs,
  }: Required<Pick<ServerOptions, 'host' | 'port' | 'headersMs' | 'requestMs'>>,
): Promise<Listening> {
  const server = createAdaptorServer({
    fetch,
    serverOptions: {
      headersTimeout: headersMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, headersMs),
    },
  }) as Server
  server.on('clientError', refuse)
  const openResponses = new Set<ServerResponse>()
  server.on('request', (_, response) => {
    openResponses.add(response)
    response.once('close', () => openResponses.delete(response))
  })
  return { server, openResponses, boundPort: await listen(server, host, port) }
}

export interface WebhookServerOptions
  extends Pick<ServerOptions, 'host' | 'port' | 'graceMs' | 'stopAlso' | 'token'> {
  handlers: NonNullable<ServerOptions['handlers']>
  /** Whether what comes is heard. */
  isReady(): boolean
}

/**
 * Without a model: health checks, metrics and what chat platforms call.
 * @throws SetupError when the port or host cannot be had.
 */
export async function startWebhookServer(options: WebhookServerOptions): Promise<RunningServer> {
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, graceMs = DEFAULT_GRACE_MS, stopAlso } = options
  let isStopping = false
  const isReady = () => !isStopping && options.isReady()
  const { fetch } = createWebhookApp({ ...options, isReady })
  const times = { headersMs: HEADERS_TIMEOUT_MS, requestMs: REQUEST_TIMEOUT_MS }
  const { server, openResponses, boundPort } = await listenWith(fetch, { host, port, ...times })
  const stop = async () => {
    log.info('stopping')
    isStopping = true
    const endsAt = performance.now() + graceMs
    await waitAtMost(stopAlso?.(graceMs * ASKS_SHARE), endsAt)
    await until(() => openResponses.size === 0, Math.max(0, endsAt - performance.now()))
    server.close()
    server.closeAllConnections()
  }
  return running(host, boundPort, stop)
}

/** Closes once, however often it is told to. */
function running(host: string, port: number, stop: () => Promise<void>): RunningServer {
  let closing: Promise<void> | undefined
  return {
    url: `http://${reachable(host)}:${port}`,
    port,
    close: () => {
      closing ??= stop()
      return closing
    },
  }
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(cannotListen(cause, host, port)))
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function cannotListen(cause: NodeJS.ErrnoException, host: string, port: number): SetupError {
  const another = 'Choose another port with --port, for example --port 8081; --port 0 takes a free one.'
  switch (cause.code) {
    case 'EADDRINUSE':
      return new SetupError('port_taken', `Port ${port} on ${host} is taken by another program. ${another}`, {
        cause,
      })
    case 'EACCES':
      return new SetupError('port_forbidden', `Port ${port} is not allowed for this user. ${another}`, {
        cause,
      })
    default: {
      const message = `Expected ${host} to be an address of this machine but could not listen there. Try --host 127.0.0.1.`
      return new SetupError('host_unusable', message, { cause })
    }
  }
}

/** What is no HTTP, or comes too slowly, never becomes a request: it is answered and counted here. */
function refuse(cause: NodeJS.ErrnoException, socket: Socket): void {
  const error = faultOf(cause.code)
  // The client left, or is in the middle of an answer.
  const isBroken = cause.code === 'ECONNRESET' || !socket.writable
  if (!isBroken) count('glimpse_rejected_total', { reason: error.code })
  if (isBroken || isAnswered(socket)) return void socket.destroy()
  const body = JSON.stringify(problemOf(error))
  const status = statusOf(error)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}

/** As Node's own handler tells it (lib/_http_server.js, socketOnError); its types do not know the field. */
function isAnswered(socket: Socket): boolean {
  return (socket as Socket & { _httpMessage?: ServerResponse })._httpMessage?.headersSent === true
}

function faultOf(code: string | undefined): RequestError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new RequestError('headers_too_large', 'Expected at most 16 KiB of headers.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RequestError('too_slow', 'Expected the request sooner. Send it again.')
    default:
      return new RequestError('bad_http', 'Expected HTTP but could not read it.')
  }
}

async function until(isSo: () => boolean, ms: number): Promise<void> {
  const endsAt = performance.now() + ms
  while (!isSo() && performance.now() < endsAt) await new Promise((resolve) => setTimeout(resolve, SWEEP_MS))
}

/** What fails while stopping is told where it is made. */
async function waitAtMost(work: Promise<void> | undefined, endsAt: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, endsAt - performance.now()))
  })
  await Promise.race([Promise.resolve(work).catch(() => {}), late])
  clearTimeout(timer)
}

/** Whether only this machine reaches what listens there. */
export function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function noTokenWarning(host: string): SetupError {
  return new SetupError(
    'no_api_token',
    `Listening on ${host} without a token: whoever reaches this port may ask. Set GLIMPSE_API_TOKEN, or see that only the platform reaches it.`,
  )
}

/** An address to listen on is not always one to go to. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
