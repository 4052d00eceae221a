// Starts moto, a third-party emulator of AWS, for long tests. `pip install 'moto[server,s3,sqs]'` installs moto_server.

import { spawn } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'

export interface Moto {
  /** Options for any client of the AWS SDK. */
  options: { endpoint: string; region: string; credentials: { accessKeyId: string; secretAccessKey: string } }
  stop(): void
}

const START_WITHIN_MS = 60_000
const PAUSE_MS = 100

/** Starts moto and resolves once `first` succeeds. @throws Error if moto is not installed or does not start */
export async function startMoto(first: (options: Moto['options']) => Promise<unknown>): Promise<Moto> {
  const port = await freePort()
  const moto = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
  let failed: Error | undefined
  moto.once('error', (cause) => {
    failed = new Error("moto is not installed: pip install 'moto[server,s3,sqs]'", { cause })
  })
  const options = {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  }
  for (const end = Date.now() + START_WITHIN_MS; ; ) {
    try {
      await first(options)
      return { options, stop: () => void moto.kill() }
    } catch (error) {
      if (failed || Date.now() > end) throw failed ?? error
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
