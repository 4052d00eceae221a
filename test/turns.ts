// For what must not happen: everything else gets its turn, however slow the machine is.

import { stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

let echo: Promise<Server> | undefined

/** So many times the event loop, the file system's threads and the loopback device answer, one after another. */
export async function turns(count = 20): Promise<void> {
  echo ??= new Promise((resolve) => {
    const server = createServer((_, response) => response.end()).listen(0, '127.0.0.1', () => resolve(server))
    server.unref()
  })
  const { port } = (await echo).address() as AddressInfo
  for (let i = 0; i < count; i++) {
    await stat('.')
    await (await fetch(`http://127.0.0.1:${port}`)).text()
    await new Promise((resolve) => setImmediate(resolve))
  }
}
