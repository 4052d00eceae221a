// An HTTP service that answers as the test specifies, on a free port.

import { createServer, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'

export interface Answer {
  status?: number
  headers?: OutgoingHttpHeaders
  body?: unknown
}

/** Returns its address without a trailing slash. A result of undefined never answers. */
export async function httpStub(
  answer: (request: IncomingMessage, body: string) => Answer | undefined,
): Promise<string> {
  const server = createServer(async (request, response) => {
    const given = answer(request, await text(request))
    if (!given) return
    response.writeHead(given.status ?? 200, { 'content-type': 'application/json', ...given.headers })
    response.end(given.body === undefined ? '' : JSON.stringify(given.body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
