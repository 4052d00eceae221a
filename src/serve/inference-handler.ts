// An ask over HTTP: a slot, then its body, then its turn at the engine (admission.ts), then the answer. routes.ts says where
// they come in, request.ts what they look like.

import { createHash } from 'node:crypto'
import type { Engine, Hooks } from '../engine/engine.ts'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
import { withQueueTime } from '../engine/timings.ts'
import { BusyError, type ErrorCode, isGlimpseError, UpstreamError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count, observe } from '../observe/metrics.ts'
import { stopWith } from '../stop.ts'
import type { Store } from '../store/store.ts'
import { createAdmission, type Slot, secondsOf } from './admission.ts'
import { type IdempotentResult, keyOf, openIdempotency } from './idempotency.ts'
import { type ParsedRequest, readRequest, type Task } from './request.ts'
import { codeOf } from './request-log.ts'
import { eventStream } from './sse.ts'
import type { Uploads } from './uploads.ts'

export interface InferenceHandlerOptions {
  /** The engine, or why there is none. */
  open: () => Engine
  maxQueue: number
  concurrency: number
  deadlineMs?: number
  /** What still runs when it is aborted ends with BusyError `stopping`. */
  hardStop?: AbortSignal
  /** Where pictures too large for a request went. */
  uploads?: Uploads
  /** Opens where answers are kept for their Idempotency-Key; without it in this process. */
  store?: () => Promise<Store>
  /** Is told of what fails after the response began. */
  failed: (error: unknown) => void
}

export interface InferenceHandler {
  /** @throws whatever the ask ends in before its response begins */
  handle(request: Request, want: Task | 'either', tenant: string): Promise<Response>
  /** When whoever met this error should try again, in whole seconds. */
  retryAfterS(error: unknown): number
  /** Asks that have not reached the engine yet. */
  waiting(): number
}

/** What is over by itself in a while, and about when. */
const RETRY_AFTER_MS: Partial<Record<ErrorCode, number>> = {
  loading: 5_000,
  restarting: 5_000,
  // Another process takes the place of this one.
  stopping: 2_000,
  closing: 2_000,
  // The breaker's pause, see engine/.
  model_down: 60_000,
}

export function createInferenceHandler({
  open,
  maxQueue,
  concurrency,
  deadlineMs,
  hardStop,
  uploads,
  store,
  failed,
}: InferenceHandlerOptions): InferenceHandler {
  const admission = createAdmission({ queueCapacity: maxQueue, concurrency: concurrency })
  const idempotency = openIdempotency(store)
  const leftAfter = (waitedMs: number) =>
    deadlineMs === undefined ? undefined : Math.max(1, Math.round(deadlineMs - waitedMs))

  /**
   * Waits for its turn, and counts the time as the engine counts that of its own queue.
   * @param beforeMs waited for another ask with its key
   */
  const ask = async (
    engine: Engine,
    slot: Slot,
    request: InferenceRequest,
    hooks: Hooks & { signal: AbortSignal },
    beforeMs = 0,
  ) => {
    const waitedMs = beforeMs + (await slot.acquire(hooks.signal, leftAfter(beforeMs)))
    observe('glimpse_http_wait_seconds', {}, waitedMs / 1000)
    const reply = await engine.answer({ ...request, deadlineMs: leftAfter(waitedMs) }, hooks)
    return { ...reply, timings_ms: withQueueTime(reply.timings_ms, waitedMs) }
  }

  const answer = async (
    engine: Engine,
    slot: Slot,
    { request, task }: ParsedRequest,
    key: string | undefined,
    { onToken, signal }: Hooks,
  ): Promise<IdempotentResult> => {
    const ending = stopWith(signal, hardStop)
    const hooks = { onToken, signal: ending.signal }
    try {
      if (key === undefined) return { reply: await ask(engine, slot, request, hooks), isReplay: false }
      const work = (waitedMs: number) => ask(engine, slot, request, hooks, waitedMs)
      const within = { signal: ending.signal, deadlineMs }
      const outcome = await idempotency.run(key, fingerprintOf(request, task), within, work)
      if (outcome.isReplay) count('glimpse_http_replays_total', {})
      return outcome
    } catch (error) {
      throw hardStop?.aborted && codeOf(error) === 'cancelled' ? cutShort() : error
    } finally {
      ending.end()
      slot.release()
    }
  }

  return {
    async handle(request, want, tenant) {
      const startedAt = performance.now()
      let task: Task | 'unknown' = want === 'either' ? 'unknown' : want
      const ended = (outcome: string) => count('glimpse_requests_total', { task, outcome })
      const counted = async <T>(work: () => Promise<T>): Promise<T> => {
        try {
          return await work()
        } catch (error) {
          ended(codeOf(error))
          throw error
        }
      }
      const { engine, slot, parsed, key } = await counted(async () => {
        const engine = open()
        const slot = admission.admit(tenant, Math.max(0, engine.pending - admission.running))
        try {
          const key = keyOf(request.headers)
          const parsed = await readRequest(request, want, uploads)
          task = parsed.task
          return { engine, slot, parsed, key: key && `${tenant} ${key}` }
        } catch (error) {
          slot.release()
          throw error
        }
      })
      const run = (hooks: Hooks) =>
        counted(async () => {
          const outcome = await answer(engine, slot, parsed, key, hooks)
          ended('ok')
          // Under a key the same ask may come again, and its upload with it.
          if (key === undefined) await parsed.used?.()
          return outcome
        })
      if (!parsed.stream) return responseOf(await run({ signal: request.signal }))
      const streamed = async (hooks: Hooks) => {
        const { reply } = await run(hooks).finally(() =>
          log.info('stream_ended', { task, ms: Math.round(performance.now() - startedAt) }),
        )
        return reply
      }
      return eventStream(streamed, request.signal, failed)
    },
    retryAfterS(error) {
      if (error instanceof UpstreamError && error.retryAfterMs !== undefined)
        return secondsOf(error.retryAfterMs)
      return secondsOf((isGlimpseError(error) ? RETRY_AFTER_MS[error.code] : undefined) ?? admission.waitMs)
    },
    waiting: () => admission.waiting,
  }
}

function responseOf({ reply, isReplay }: IdempotentResult): Response {
  const headers: Record<string, string> = { 'cache-control': 'no-store' }
  if (isReplay) headers['idempotent-replayed'] = 'true'
  else headers['server-timing'] = serverTiming(reply)
  return Response.json(reply, { headers })
}

/** As browsers' developer tools show it (W3C Server Timing). */
function serverTiming({ timings_ms }: InferenceResult): string {
  return Object.entries(timings_ms)
    .map(([stage, ms]) => `${stage};dur=${ms}`)
    .join(', ')
}

/** Tells asks apart by what they ask, not by how they were written: a form's boundary is another each time. */
function fingerprintOf({ image, question, history, prompt, settings }: InferenceRequest, task: Task): string {
  const picture = createHash('sha256')
    .update(image ?? '')
    .digest('hex')
  return createHash('sha256')
    .update(JSON.stringify([task, picture, question, history, prompt, settings]))
    .digest('hex')
}

function cutShort(): BusyError {
  return new BusyError('stopping', 'Glimpse had to stop before the answer was there. Ask again in a moment.')
}
