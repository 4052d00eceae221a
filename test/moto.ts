// moto, a peer for AWS that we did not write: pip install 'moto[server,s3,sqs]' puts moto_server on the path. Tests that
// want it are skipped without it.

import { execFileSync, spawn } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'

export interface Moto {
  /** For any client of the SDK. */
  options: { endpoint: string; region: string; credentials: { accessKeyId: string; secretAccessKey: string } }
  stop(): void
}

export const isMotoThere = (() => {
  try {
    execFileSync('moto_server', ['--help'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

const TRIES = 100
const PAUSE_MS = 100

/** Resolves once it does what `first` asks of it. */
export async function startMoto(first: (options: Moto['options']) => Promise<unknown>): Promise<Moto> {
  const port = await freePort()
  const moto = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
  const options = {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  }
  for (let tries = 0; ; tries++) {
    try {
      await first(options)
      return { options, stop: () => void moto.kill() }
    } catch (error) {
      if (tries === TRIES) throw error
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
