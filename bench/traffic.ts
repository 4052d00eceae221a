// Load for the server benches: starts bench/stub.ts, sends requests at a given rate and summarizes their outcomes.

import { fork } from 'node:child_process'
import { Agent, request } from 'node:http'
import { availableParallelism, loadavg } from 'node:os'
import { PNG } from '../test/serve/double.ts'
import type { StubOptions } from './stub.ts'

export interface RequestOutcome {
  /** 0 if the connection broke. */
  status: number
  ms: number
  retryAfter?: string
  /** Time that the request waited for its turn, from the server's Server-Timing header. */
  queueMs: number
  /** Error code of a broken connection: ECONNREFUSED, ECONNRESET. */
  code?: string
  id: string
}

export interface Stub {
  port: number
  /** Resident bytes after a garbage collection. */
  memory(): Promise<number>
  /** Sends SIGTERM. Returns the exit code, the time until exit, and the ids of all requests that the server read. */
  stop(): Promise<{ code: number | null; ms: number; seen: string[] }>
}

export async function startStub(options: StubOptions): Promise<Stub> {
  const child = fork(new URL('./stub.ts', import.meta.url), [JSON.stringify(options)], {
    execArgv: ['--import', 'tsx', '--expose-gc'],
  })
  const messageWith = <T>(key: string) =>
    new Promise<T>((resolve) => {
      const onMessage = (message: Record<string, T>) => {
        if (!(key in message)) return
        child.off('message', onMessage)
        resolve(message[key]!)
      }
      child.on('message', onMessage)
    })
  const port = await messageWith<number>('port')
  return {
    port,
    memory() {
      const memory = messageWith<number>('memory')
      child.send('memory')
      return memory
    },
    async stop() {
      const begun = performance.now()
      const seen = messageWith<string[]>('seen')
      const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const code = await exited
      return { code, ms: performance.now() - begun, seen: await seen }
    },
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
let count = 0

/** Sends one question about the smallest picture. Never throws. */
export function ask(port: number, headers: Record<string, string> = {}): Promise<RequestOutcome> {
  const body = JSON.stringify({ image: Buffer.from(PNG).toString('base64'), question: 'What is it?' })
  return send(port, 'POST', '/v1/answer', { 'content-type': 'application/json', ...headers }, body)
}

export function send(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<RequestOutcome> {
  const begun = performance.now()
  const id = `bench-${++count}`
  return new Promise((resolve) => {
    const length = { 'content-length': String(Buffer.byteLength(body)) }
    const sending = request({
      port,
      agent,
      method,
      path,
      headers: { ...headers, ...length, 'x-request-id': id },
    })
    const broke = (error: NodeJS.ErrnoException) =>
      resolve({ status: 0, ms: performance.now() - begun, queueMs: 0, code: error.code, id })
    sending.on('error', broke)
    sending.on('response', (response) => {
      response.resume()
      response.on('error', broke)
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          ms: performance.now() - begun,
          queueMs: Number(/queue;dur=([\d.]+)/.exec(String(response.headers['server-timing']))?.[1] ?? 0),
          retryAfter: response.headers['retry-after'],
          id,
        }),
      )
    })
    sending.end(body)
  })
}

/** Calls `work` at a constant rate, without waiting for earlier calls. */
export async function constantRate<T>(perS: number, seconds: number, work: () => Promise<T>): Promise<T[]> {
  const begun = performance.now()
  const all: Promise<T>[] = []
  const total = Math.round(perS * seconds)
  while (all.length < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - begun) / 1000) * perS))
    while (all.length < due) all.push(work())
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return await Promise.all(all)
}

/** Returns `200: 479, 429: 4521, ECONNRESET: 1`, with the machine's load average. */
export function summary(outcomes: readonly RequestOutcome[]): string {
  const counts = new Map<string, number>()
  for (const { status, code } of outcomes) {
    const name = status === 0 ? (code ?? 'broken') : String(status)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const all = [...counts].map(([name, count]) => `${name}: ${count}`)
  return `${all.join(', ')} (load ${loadavg()[0]!.toFixed(1)} on ${availableParallelism()} cores)`
}

/** Returns the `share` quantile of the values: 0.95 gives p95. */
export function quantile(share: number, values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Prints a figure with its target and whether it is met; a missed target sets exit code 1. */
export function printRow(name: string, figure: number, target: number, unit: string): void {
  const met = figure <= target ? 'met' : 'MISSED'
  console.log(
    `${name.padEnd(56)} ${figure.toFixed(Math.abs(figure) < 10 ? 2 : 1).padStart(9)} ${unit.padEnd(3)} target ${target.toFixed(0)} ${unit}  ${met}`,
  )
  if (met !== 'met') process.exitCode = 1
}
