// The app on a port of this machine. By default nobody outside the machine reaches it.

import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { SetupError } from '../errors.ts'
import type { Engine } from '../job/engine.ts'
import { type AppOptions, createApp } from './routes.ts'

export interface ServerOptions extends Omit<AppOptions, 'stopping'> {
  /** Default 127.0.0.1; 0.0.0.0 in a container. */
  host?: string
  /** Default 8080; 0 takes a free one. */
  port?: number
  /** How long `close()` waits for running asks. Default 8 s: Cloud Run and docker kill after 10 s. */
  graceMs?: number
}

export interface RunningServer {
  /** `http://127.0.0.1:8080`, to be opened in a browser. */
  url: string
  port: number
  /** Stops accepting, lets running asks finish up to `graceMs`, cancels the rest, closes the engine. */
  close(): Promise<void>
}

const DEFAULT_HOST = '127.0.0.1'
const DEFAULT_PORT = 8080
const DEFAULT_GRACE_MS = 8_000
/** Slow senders hold a place in the queue: their headers, and all of their request, must come within these. */
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 60_000
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
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, graceMs = DEFAULT_GRACE_MS, ...appOptions } = options
  const stopping = new AbortController()
  const app = createApp(engine, {
    ...appOptions,
    hosts: [...(appOptions.hosts ?? []), host],
    stopping: stopping.signal,
  })
  const server = createAdaptorServer({
    fetch: app.fetch,
    serverOptions: { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
  }) as Server
  const answering = new Set<ServerResponse>()
  server.on('request', (_, response) => {
    answering.add(response)
    response.once('close', () => answering.delete(response))
  })

  const taken = await listen(server, host, port)
  let closing: Promise<void> | undefined
  const stop = async () => {
    stopping.abort()
    await drain(server, answering, graceMs)
    const open = await Promise.resolve(engine).catch(() => undefined)
    await open?.close()
  }
  return {
    url: `http://${reachable(host)}:${taken}`,
    port: taken,
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

/** Resolves when the last answer is out; past the bound the rest are cut, which aborts their runs. */
async function drain(server: Server, answering: ReadonlySet<unknown>, graceMs: number): Promise<void> {
  // Browsers hold connections open that carry nothing, even ones that never did: they are not waited for.
  const sweep = setInterval(() => {
    if (answering.size === 0) server.closeAllConnections()
  }, SWEEP_MS)
  const bound = setTimeout(() => server.closeAllConnections(), graceMs)
  await new Promise((resolve) => server.close(resolve))
  clearInterval(sweep)
  clearTimeout(bound)
}

/** An address to listen on is not always one to go to. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
