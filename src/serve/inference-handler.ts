// An inference request over HTTP: admission slot -> body -> turn at the engine -> response, as JSON or as a stream.
// The slot comes first, so that a refused request costs neither memory nor time for its body (admission.ts).

import type { Engine, Hooks } from '../engine/engine.ts'
import { withQueueTime } from '../engine/timings.ts'
import { BusyError, codeOf, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { log } from '../observe/log.ts'
import { count, observe } from '../observe/metrics.ts'
import { stopWith } from '../stop.ts'
import type { Store } from '../store/store.ts'
import { createAdmission, secondsOf } from './admission.ts'
import { type IdempotentResult, keyOf, openIdempotency } from './idempotency.ts'
import type { ParsedRequest } from './request.ts'
import { GLIMPSE_FORM, type ResponseForm } from './response-form.ts'
import { eventStream } from './sse.ts'
import type { Uploads } from './uploads.ts'

export interface InferenceOptions {
  /** A request that takes longer ends with BusyError `deadline`. Default: the engine's own. */
  deadlineMs?: number
  /** Once aborted, running requests end with BusyError `stopping`. */
  hardStop?: AbortSignal
  /** Opens the store of replies by Idempotency-Key, for several processes. Default: in this process. */
  store?: () => Promise<Store>
  /** Storage for pictures too large for a request. Without it, uploads are refused. */
  uploads?: Uploads
}

export interface InferenceHandlerOptions extends InferenceOptions {
  /** @throws BusyError while there is no engine */
  getEngine: () => Engine
  maxQueue: number
  concurrency: number
  /** Called with errors after the response began. */
  reportLate: (error: unknown) => void
}

/** About how long these conditions last. */
const RETRY_AFTER_MS: Partial<Record<ReturnType<typeof codeOf>, number>> = {
  loading: 5_000,
  restarting: 5_000,
  // Another process takes over.
  stopping: 2_000,
  closing: 2_000,
  // Engine pauses restarts for a minute at most (`withinMs` of engine/engine.ts).
  model_down: 60_000,
}

export function createInferenceHandler(options: InferenceHandlerOptions) {
  const { deadlineMs, hardStop } = options
  const admission = createAdmission({ queueCapacity: options.maxQueue, concurrency: options.concurrency })
  const idempotency = openIdempotency(options.store)
  const leftMs = (waitedMs: number) =>
    deadlineMs === undefined ? undefined : Math.max(1, Math.round(deadlineMs - waitedMs))

  return {
    /**
     * @param read reads and checks the body
     * @param label its task in the metrics, where the route alone says it
     * @throws any error that ends the request before its response begins
     */
    async handle(
      request: Request,
      read: (request: Request) => Promise<ParsedRequest>,
      tenant: string,
      label?: string,
    ): Promise<Response> {
      const startedAt = performance.now()
      let task = label ?? 'unknown'
      const ended = (outcome: string) => count('glimpse_requests_total', { task, outcome })
      const rejected = (error: unknown): never => {
        ended(codeOf(error))
        throw error
      }
      const accept = async () => {
        const engine = options.getEngine()
        const slot = admission.admit(tenant, Math.max(0, engine.pending - admission.running()))
        try {
          const key = keyOf(request.headers)
          const parsed = await read(request)
          task = label ?? parsed.request.task
          return { engine, slot, parsed, key: key && `${tenant} ${key}` }
        } catch (error) {
          slot.release()
          throw error
        }
      }
      const { engine, slot, parsed, key } = await accept().catch(rejected)

      const infer = async ({ onToken, signal }: Hooks): Promise<IdempotentResult> => {
        const stop = stopWith(signal, hardStop)
        /** @param beforeMs time spent waiting for another request with the same key */
        const run = async (beforeMs: number) => {
          const waitedMs = beforeMs + (await slot.acquire(stop.signal, leftMs(beforeMs)))
          observe('glimpse_http_wait_seconds', {}, waitedMs / 1000)
          const hooks = { onToken, signal: stop.signal }
          const deadlineMs = leftMs(waitedMs)
          const reply = parsed.run
            ? await parsed.run(engine, { signal: stop.signal, deadlineMs })
            : await engine.answer({ ...parsed.request, deadlineMs }, hooks)
          return { ...reply, timings_ms: withQueueTime(reply.timings_ms, waitedMs) }
        }
        try {
          if (key === undefined) return { reply: await run(0), isReplay: false }
          const within = { signal: stop.signal, deadlineMs }
          return await idempotency.run(key, fingerprintOf(parsed), within, run)
        } catch (error) {
          if (!hardStop?.aborted || codeOf(error) !== 'cancelled') throw error
          const message = 'Glimpse stopped before the answer was complete. Send the request again.'
          throw new BusyError('stopping', message)
        } finally {
          stop.end()
          slot.release()
        }
      }
      const run = async (hooks: Hooks) => {
        const result = await infer(hooks).catch(rejected)
        ended('ok')
        if (result.isReplay) count('glimpse_http_replays_total', {})
        // A request with a key may be sent again, and names its upload again then.
        if (key === undefined) await parsed.used?.()
        return result
      }
      const form = parsed.form ?? GLIMPSE_FORM
      if (!parsed.stream) return responseOf(await run({ signal: request.signal }), form)
      const streamed = async (hooks: Hooks) => {
        const { reply } = await run(hooks).finally(() =>
          log.info('stream_ended', { task, ms: Math.round(performance.now() - startedAt) }),
        )
        return reply
      }
      return eventStream(streamed, form, request.signal, options.reportLate)
    },
    /** When a request that met this error should be sent again, in whole seconds. */
    retryAfterS(error: unknown): number {
      if (error instanceof UpstreamError && error.retryAfterMs !== undefined)
        return secondsOf(error.retryAfterMs)
      return secondsOf(RETRY_AFTER_MS[codeOf(error)] ?? admission.waitMs())
    },
    /** Requests that have not reached the engine yet. */
    waiting: admission.waiting,
  }
}

function responseOf({ reply, isReplay }: IdempotentResult, form: ResponseForm): Response {
  const headers = new Headers({ 'cache-control': 'no-store' })
  // Browsers' developer tools show Server-Timing (W3C).
  const stages = Object.entries(reply.timings_ms).map(([stage, ms]) => `${stage};dur=${ms}`)
  if (isReplay) headers.set('idempotent-replayed', 'true')
  else headers.set('server-timing', stages.join(', '))
  return Response.json(form.json(reply), { headers })
}

/** Hash of the parsed fields, not of the body: a form has a new boundary each time it is sent. */
function fingerprintOf({ request: { image, ...fields } }: ParsedRequest): string {
  const picture = image ? sha256Hex(image) : fields.picture
  return sha256Hex(
    JSON.stringify(Object.entries({ ...fields, picture }).sort(([a], [b]) => (a < b ? -1 : 1))),
  )
}
