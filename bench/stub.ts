// A server process whose engine only waits a fixed time. bench/traffic.ts starts it with fork(), so that another process makes
// the load. Messages: in `memory`, out `port`, `memory` (bytes), `seen` (request ids).

import diagnostics from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import { stopOnSignals } from '../src/cli/signals.ts'
import type { Engine, Hooks } from '../src/engine/engine.ts'
import type { InferenceRequest } from '../src/engine/request.ts'
import type { RequestOf, ResultOf, TaskName } from '../src/engine/tasks.ts'
import { cancelled } from '../src/errors.ts'
import { configureLog } from '../src/observe/log.ts'
import { startServer } from '../src/serve/server.ts'

export interface StubOptions {
  /** Time of one request. */
  serviceMs: number
  maxQueue: number
  /** Largest batch; each request after the first adds `MARGINAL` of `serviceMs`. */
  batch: number
  token?: string
}

/** A batch of eight takes 5.3 times as long as one request: the 1.5-fold throughput that is bench/batching.ts's target. */
const MARGINAL = 0.62

const options = JSON.parse(process.argv[2]!) as StubOptions
/** Ids of every request that Node read, answered or not. */
const seen: string[] = []
diagnostics.subscribe('http.server.request.start', (message) => {
  const { request } = message as { request: IncomingMessage }
  seen.push(String(request.headers['x-request-id']))
})

function stub({ serviceMs, batch }: StubOptions): Engine {
  const waiting: (() => void)[] = []
  let running = 0
  let closed = () => {}
  const startNext = () => {
    if (running > 0) return
    const now = waiting.splice(0, batch)
    running = now.length
    if (running === 0) return closed()
    const takesMs = serviceMs * (1 + (running - 1) * MARGINAL)
    setTimeout(() => {
      running = 0
      for (const end of now) end()
      setImmediate(startNext)
    }, takesMs)
  }
  return {
    model: { name: 'stub', precision: 'fp32' },
    get pending() {
      return waiting.length + running
    },
    ready: true,
    answer: <N extends TaskName>(request: RequestOf<N>, { signal }: Hooks = {}) =>
      new Promise<ResultOf<N>>((resolve, reject) => {
        const timings_ms = {
          queue: 0,
          image: 0,
          pixels: 0,
          vision: 0,
          queries: 0,
          tokens: 0,
          total: serviceMs,
        }
        const { question = '' } = request as InferenceRequest
        const reply = { text: question, token_ids: [], sequences: [], prompt: '', picture: '', model: 'stub' }
        signal?.addEventListener('abort', () => reject(cancelled()))
        waiting.push(() => resolve({ ...reply, timings_ms } as unknown as ResultOf<N>))
        setImmediate(startNext)
      }),
    close: () =>
      new Promise((resolve) => {
        closed = resolve
        if (running === 0) resolve()
      }),
  }
}

configureLog('json', { write: () => {} })
const { maxQueue, batch, token } = options
const server = await startServer(stub(options), { port: 0, maxQueue, concurrency: batch, token })
stopOnSignals(async () => {
  await server.close()
  process.send!({ seen })
})
process.on('message', () => {
  globalThis.gc?.()
  process.send!({ memory: process.memoryUsage().rss })
})
process.on('disconnect', () => process.exit())
process.send!({ port: server.port })
