// `npx serverless offline`: the functions of serverless.yml behind an HTTP edge of this machine, with the settings of a
// test in place of what the template refers to.

import { type ChildProcess, spawn } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ROOT } from './packaged.ts'

export interface Offline {
  /** Of the HTTP API. */
  url: string
  invoke(name: string, event: unknown): Promise<unknown>
  output(): string
  stop(): Promise<void>
}

const STARTS_WITHIN_MS = 60_000

export async function startOffline(settings: Record<string, string>): Promise<Offline> {
  const [httpPort, lambdaPort, albPort] = await Promise.all([freePort(), freePort(), freePort()])
  const child = spawn(
    join(ROOT, 'node_modules/.bin/serverless'),
    [
      'offline',
      '--param',
      'gpu=embedded',
      ...['--httpPort', String(httpPort), '--lambdaPort', String(lambdaPort), '--albPort', String(albPort)],
    ],
    {
      cwd: ROOT,
      // Only its own process would be stopped, not the one it starts.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: '/nowhere', SLS_NOTIFICATIONS_MODE: 'off', ...settings },
    },
  )
  let output = ''
  const started = new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer) => {
      output += chunk
      if (/Server ready/i.test(output)) resolve()
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('exit', (code) => reject(new Error(`serverless offline ended with ${code}:\n${output}`)))
    setTimeout(
      () => reject(new Error(`serverless offline did not start:\n${output}`)),
      STARTS_WITHIN_MS,
    ).unref()
  })
  const stop = () => ended(child)
  await started.catch(async (error: unknown) => {
    await stop()
    throw error
  })
  return {
    url: `http://localhost:${httpPort}`,
    async invoke(name, event) {
      const path = `/2015-03-31/functions/glimpse-dev-${name}/invocations`
      const body = JSON.stringify(event)
      const response = await fetch(`http://localhost:${lambdaPort}${path}`, { method: 'POST', body })
      const text = await response.text()
      if (!response.ok) throw new Error(`The function ${name} failed: ${text}\n${output}`)
      return text === '' ? undefined : JSON.parse(text)
    },
    output: () => output,
    stop,
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  process.kill(-child.pid, 'SIGKILL')
  await exit
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
