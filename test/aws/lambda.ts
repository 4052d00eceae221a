// A double of Lambda's file system: a folder like /var/task with the files of a function's zip, one like /opt with its
// layers, and a process that resolves modules from these only.

import { fork } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { ROOT } from './packaged.ts'

/** Process code: calls the named handler with one event after another from its parent, as Lambda's runtime does. */
const RUNTIME = `
const [file, functionName, timeoutMs, aheadMs] = process.argv.slice(2)
const { now } = Date
Date.now = () => now() + Number(aheadMs)
const { handler } = await import(file)
process.on('message', async ({ id, event }) => {
  const endsAt = Date.now() + Number(timeoutMs)
  const getRemainingTimeInMillis = () => endsAt - Date.now()
  const context = { awsRequestId: 'request-' + id, functionName, getRemainingTimeInMillis }
  try {
    process.send({ id, result: (await handler(event, context)) ?? null })
  } catch (error) {
    process.send({ id, error: String(error) })
  }
})
process.on('disconnect', () => process.exit())
`

export interface Installed {
  /** Starts a process with this function. */
  start(name: string, env: Record<string, string>, times?: Times): Running
  remove(): Promise<void>
}

interface Times {
  /** Timeout of the function. Default 50 s. Nothing ends it: only its context says so. */
  timeoutMs?: number
  /** How much the clock of the process is ahead. Default 0. */
  aheadMs?: number
}

export interface Running {
  invoke(event: unknown): Promise<unknown>
  /** Lines of stdout and stderr. */
  lines(): string[]
  stop(): void
}

/** Unpacks the output of deploy/plugin.mjs into Lambda's folders. */
export async function installFunctions(): Promise<Installed> {
  const { bundle } = (await import(join(ROOT, 'deploy/bundle.mjs'))) as { bundle(): Promise<number> }
  const { buildLayers } = (await import(join(ROOT, 'layers/build.mjs'))) as {
    buildLayers(arch: string): { folder: string }[]
  }
  await bundle()
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-lambda-'))
  const [task, opt] = [join(folder, 'task'), join(folder, 'opt')]
  await mkdir(join(task, 'dist'), { recursive: true })
  await cp(join(ROOT, 'dist/lambda'), join(task, 'dist/lambda'), {
    recursive: true,
    // Files that another test file is writing have a process id as suffix until they are complete.
    filter: (path) => !/\.\d+$/.test(path),
  })
  await cp(join(ROOT, 'dist/package.json'), join(task, 'dist/package.json'))
  for (const layer of buildLayers(process.arch)) await cp(layer.folder, opt, { recursive: true })
  const runtime = join(folder, 'runtime.mjs')
  await writeFile(runtime, RUNTIME)

  return {
    start(name, env, { timeoutMs = 50_000, aheadMs = 0 } = {}) {
      const file = join(task, `dist/lambda/${name}.js`)
      const child = fork(runtime, [file, `glimpse-test-${name}`, String(timeoutMs), String(aheadMs)], {
        cwd: task,
        execArgv: [],
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
        env: {
          PATH: process.env['PATH'],
          // As Lambda's runtime for Node sets it.
          NODE_PATH: `${opt}/nodejs/node_modules`,
          TZ: ':UTC',
          AWS_REGION: 'eu-central-1',
          AWS_ACCESS_KEY_ID: 'a',
          AWS_SECRET_ACCESS_KEY: 'b',
          HOME: '/nowhere',
          ...(env['GLIMPSE_MODEL'] ? {} : { GLIMPSE_MODEL: `${opt}/glimpse/model` }),
          ...env,
        },
      })
      // Each call adds a listener.
      child.setMaxListeners(0)
      let output = ''
      child.stdout!.on('data', (chunk) => (output += chunk))
      child.stderr!.on('data', (chunk) => (output += chunk))
      let next = 1
      return {
        invoke(event) {
          const id = next++
          return new Promise((resolve, reject) => {
            const ended = () => reject(new Error(`The function ended:\n${output}`))
            if (child.killed || child.exitCode !== null) return ended()
            child.once('exit', ended)
            child.on('message', (message: { id: number; result?: unknown; error?: string }) => {
              if (message.id !== id) return
              if (message.error === undefined) resolve(message.result)
              else reject(new Error(`${message.error}\n${output}`))
            })
            child.send({ id, event })
          })
        },
        lines: () => output.split('\n').filter((line) => line !== ''),
        stop: () => void child.kill('SIGKILL'),
      }
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Returns the event of an HTTP API (payload format 2.0); binary bodies are in base64. */
export function apiEvent(
  method: string,
  path: string,
  given: { body?: Uint8Array | string; headers?: Record<string, string> } = {},
): APIGatewayProxyEventV2 {
  const domainName = 'abc123.execute-api.eu-central-1.amazonaws.com'
  return {
    version: '2.0',
    routeKey: `${method} ${path}`,
    rawPath: path,
    rawQueryString: '',
    headers: { host: domainName, 'x-forwarded-for': '203.0.113.7', ...given.headers },
    requestContext: {
      accountId: '000000000000',
      apiId: 'abc123',
      domainName,
      domainPrefix: 'abc123',
      http: { method, path, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'test' },
      requestId: 'api-request',
      routeKey: `${method} ${path}`,
      stage: '$default',
      time: '25/Nov/2026:12:00:00 +0000',
      timeEpoch: 1_795_608_000_000,
    },
    ...(given.body === undefined ? {} : { body: Buffer.from(given.body).toString('base64') }),
    isBase64Encoded: given.body !== undefined,
  }
}

/** Returns the event of a request of Slack, signed now with the secret. */
export function slackEvent(payload: unknown, secret: string): APIGatewayProxyEventV2 {
  const body = JSON.stringify(payload)
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signature = createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex')
  const headers = {
    'content-type': 'application/json',
    'x-slack-request-timestamp': timestamp,
    'x-slack-signature': `v0=${signature}`,
  }
  return apiEvent('POST', '/slack/events', { body, headers })
}
