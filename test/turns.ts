// Waits until pending work has had a chance to run, on a machine of any speed. For tests that an event does not occur.

import { stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

let echo: Promise<Server> | undefined

/** Completes `count` round trips through the file system's threads, the loopback device and the event loop. */
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
