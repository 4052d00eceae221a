// An app on a port of this machine, by default reachable from this machine only. Two apps are served: routes.ts with a
// model, webhook-app.ts without one. Both stop the same way: refuse, drain, cancel, close the port, close the engine.

import { once } from 'node:events'
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAdaptorServer } from '@hono/node-server'
import type { Hono } from 'hono'
import type { Engine } from '../engine/engine.ts'
import { type CodeOf, httpMeaningOf, RequestError, SetupError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { withTimeout } from '../time.ts'
import { problemOf } from './problem.ts'
import { type AppOptions, createApp } from './routes.ts'
import { createWebhookApp, type WebhookAppOptions } from './webhook-app.ts'

interface PortOptions {
  /** Default 127.0.0.1; 0.0.0.0 in a container. */
  host?: string
  /** Default 8080; 0 takes a free one. */
  port?: number
  /** Limit for all of `close()`. Default 7.5 s: Cloud Run and docker kill after 10 s. */
  graceMs?: number
  /** Stops the chats while the last requests are answered: they need the engine for it. */
  stopAlso?: (graceMs: number) => Promise<void>
  /** Limits for a request's headers and for all of it: a slow sender holds an admission slot. Defaults 10 s and 60 s. */
  headersMs?: number
  requestMs?: number
}

export interface ServerOptions extends PortOptions, Omit<AppOptions, 'stopping' | 'hardStop' | 'addressOf'> {}

interface WebhookServerOptions extends PortOptions, WebhookAppOptions {}

export interface RunningServer {
  /** `http://127.0.0.1:8080`, to open in a browser. */
  url: string
  port: number
  /**
   * Refuses new requests, lets running ones finish, cancels the rest (503) and closes the engine, all within `graceMs`.
   * A second call returns the promise of the first.
   */
  close(): Promise<void>
}

const DEFAULT_HOST = '127.0.0.1'
/** Below the 8 s that fit into 10 s on a busy machine. */
const DEFAULT_GRACE_MS = 7_500
/** Share of the grace for running requests. Then they are cancelled, and the engine has the rest to close. */
const REQUESTS_SHARE = 0.8
/** Time for the responses of cancelled requests. */
const FLUSH_MS = 300
/** Minimum time for the engine to close; a healthy one takes less. */
const ENGINE_MS = 200
/** Longer than load balancers keep an idle connection (AWS: 60 s): else one sends into a connection that is closing. */
const KEEP_ALIVE_MS = 65_000
/** How often Node checks the limits of slow senders; its default is 30 s. */
const CHECK_MS = 1_000
const POLL_MS = 20

/**
 * Listens, then resolves. The engine may still be opening; if it fails to open, `close()` still works.
 * @throws SetupError `port_taken`, `port_forbidden`, `host_unusable`
 * @example const server = await startServer(engine, { port: 0 }); process.once('SIGTERM', server.close)
 */
export async function startServer(
  engine: Engine | Promise<Engine>,
  options: ServerOptions = {},
): Promise<RunningServer> {
  const { host = DEFAULT_HOST, hosts = [], token } = options
  const [stopping, hardStop] = [new AbortController(), new AbortController()]
  const app = createApp(engine, {
    ...options,
    hosts: [...hosts, host],
    stopping: stopping.signal,
    hardStop: hardStop.signal,
    addressOf: (env) => (env as { incoming?: IncomingMessage }).incoming?.socket.remoteAddress,
  })
  const server = await serve(app, options, stopping, { hardStop, engine })
  if (!isLocal(host) && !token) {
    const message = `Listening on ${host} without a token: anyone who reaches this port may send requests. Set GLIMPSE_API_TOKEN, or let only the platform reach the port.`
    log.warn('no_api_token', new SetupError('no_api_token', message))
  }
  return server
}

/**
 * Serves chat webhooks, health checks and metrics, without a model.
 * @throws SetupError `port_taken`, `port_forbidden`, `host_unusable`
 */
export async function startWebhookServer(options: WebhookServerOptions): Promise<RunningServer> {
  const stopping = new AbortController()
  const isReady = () => !stopping.signal.aborted && options.isReady()
  return await serve(createWebhookApp({ ...options, isReady }), options, stopping)
}

/** @param stopping aborted first when the server closes @param model `hardStop` is aborted before the engine is closed */
async function serve(
  { fetch }: Hono,
  options: PortOptions,
  stopping: AbortController,
  model?: { hardStop: AbortController; engine: Engine | Promise<Engine> },
): Promise<RunningServer> {
  const { host = DEFAULT_HOST, port = 8080, graceMs = DEFAULT_GRACE_MS, stopAlso } = options
  const { headersMs = 10_000, requestMs = 60_000 } = options
  const server = createAdaptorServer({
    fetch,
    serverOptions: {
      headersTimeout: headersMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, headersMs),
    },
  }) as Server
  server.on('clientError', refuseConnection)
  /** Responses not sent completely. */
  const openResponses = new Set<ServerResponse>()
  server.on('request', (_, response) => {
    openResponses.add(response)
    response.once('close', () => openResponses.delete(response))
  })
  server.listen(port, host)
  await once(server, 'listening').catch((cause: NodeJS.ErrnoException) => {
    throw cannotListen(cause, host, port)
  })

  const drain = async (endsAt: number) => {
    while (openResponses.size > 0 && performance.now() < endsAt) await sleep(POLL_MS)
  }
  const stop = async () => {
    const endsAt = performance.now() + graceMs
    const requestsEndAt = performance.now() + graceMs * REQUESTS_SHARE
    log.info('stopping', { asks: openResponses.size })
    stopping.abort()
    // The port stays open, so that clients get a 503 and not a reset.
    await waitUntil(stopAlso?.(graceMs * REQUESTS_SHARE), requestsEndAt)
    await drain(requestsEndAt)
    if (openResponses.size > 0) {
      model?.hardStop.abort()
      await drain(performance.now() + FLUSH_MS)
    }
    // Closing the port resets connections that the kernel has queued but Node has not accepted. setImmediate runs right
    // after the poll phase, when that queue is almost empty. Connections accepted last still get an answer.
    await new Promise((resolve) => setImmediate(resolve))
    await waitUntil(new Promise((resolve) => server.close(resolve)), performance.now() + FLUSH_MS)
    server.closeAllConnections()
    // An engine in a long native call, or still opening, ends with the process.
    const closeEngine = async () => await (await model?.engine)?.close()
    await waitUntil(closeEngine(), Math.max(endsAt, performance.now() + ENGINE_MS))
  }
  let stopped: Promise<void> | undefined
  const boundPort = (server.address() as AddressInfo).port
  return {
    url: `http://${reachable(host)}:${boundPort}`,
    port: boundPort,
    close: () => {
      stopped ??= stop()
      return stopped
    },
  }
}

function cannotListen(cause: NodeJS.ErrnoException, host: string, port: number): SetupError {
  const another = 'Choose another port with --port, for example --port 8081; --port 0 takes a free one.'
  const error = (code: CodeOf<'setup'>, message: string) => new SetupError(code, message, { cause })
  if (cause.code === 'EADDRINUSE')
    return error('port_taken', `Port ${port} on ${host} is taken by another program. ${another}`)
  if (cause.code === 'EACCES')
    return error('port_forbidden', `Port ${port} is not allowed for this user. ${another}`)
  return error('host_unusable', `${host} is not an address of this machine. Try --host 127.0.0.1.`)
}

const CONNECTION_ERRORS: Record<string, [CodeOf<'request'>, string]> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'Expected at most 16 KiB of headers.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['too_slow', 'Expected the request sooner. Send it again.'],
}
const NOT_HTTP = ['bad_http', 'Expected HTTP but could not read it.'] as const

/** Bytes that are not HTTP, or that arrive too slowly, never become a request. They are answered and counted. */
function refuseConnection(cause: NodeJS.ErrnoException, socket: Socket): void {
  const [code, message] = CONNECTION_ERRORS[cause.code ?? ''] ?? NOT_HTTP
  const error = new RequestError(code, message)
  // The client disconnected, or is receiving a response.
  const isBroken = cause.code === 'ECONNRESET' || !socket.writable
  if (!isBroken) count('glimpse_rejected_total', { reason: error.code })
  // The test of Node's own handler (lib/_http_server.js, socketOnError); Node's types lack the field.
  const { _httpMessage } = socket as Socket & { _httpMessage?: ServerResponse }
  if (isBroken || _httpMessage?.headersSent) return void socket.destroy()
  const body = JSON.stringify(problemOf(error))
  const { status } = httpMeaningOf(error)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}

/** Resolves when `work` settles or at `endsAt`. Errors while stopping are logged by their source. */
async function waitUntil(work: Promise<unknown> | undefined, endsAt: number): Promise<void> {
  const late = () => new Error('The time to stop is over.')
  await withTimeout(Promise.resolve(work), Math.max(0, endsAt - performance.now()), late).catch(() => {})
}

/** Whether a server that listens on `host` is reachable from this machine only. */
export function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

/** The host for a URL: 0.0.0.0 and :: are addresses to listen on only. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
