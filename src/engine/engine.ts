// Asks in, replies out: a queue in front of the model's process. This process goes on answering while the model runs,
// and when the model crashes.

import { withResolvers } from '../concurrency.ts'
import { type BusyError, cancelled, deserializeError, serializeError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count, observe, setGauge } from '../observe/metrics.ts'
import { startTimer } from '../time.ts'
import { type BatchShape, batchShapeOf, takeBatch } from './batch.ts'
import { type BreakerLimits, createBreaker } from './breaker.ts'
import * as errors from './engine-errors.ts'
import { type ForkOptions, type ModelProcess, startModelProcess } from './process-handle.ts'
import type { FromChild, ModelCard, ModelProcessOptions } from './protocol.ts'
import type { InferenceRequest, InferenceResult } from './request.ts'
import { withQueueTime } from './timings.ts'

export interface Hooks {
  /** Told each new piece of text while a single answer is made without beams. */
  onToken?: (text: string) => void
  /** Ends the run, waiting or under way, with BusyError `cancelled`, at once. */
  signal?: AbortSignal
}

export interface Engine {
  readonly model: ModelCard
  /** The whole path. Throws RequestError about the ask, BusyError `deadline`, `cancelled`, `restarting`, `model_down` ... */
  answer(request: InferenceRequest, hooks?: Hooks): Promise<InferenceResult>
  /** Asks waiting or under way. */
  readonly pending: number
  /** False while the model's process is being replaced, or could not be. */
  readonly ready: boolean
  /** How long an answer may take here, where that is longer than people are used to: an engine elsewhere may sleep. */
  readonly maxWaitMs?: number
  /** Why it is not ready. */
  readonly unreadyReason?: UnreadyReason
  /** The model's process, where there is one on this machine. */
  readonly pid?: number
  /** Ends what waits and runs, then the process, which is killed after `withinMs` (default 1 s). */
  close(withinMs?: number): Promise<void>
}

/** `restarting` passes by itself; `model_down` ended too often and is left alone for a while. */
export type UnreadyReason = 'restarting' | 'model_down' | 'closing'

/** How long the model may go on with what nobody waits for any more, and how often it may end. */
export interface EngineTimeouts extends BreakerLimits {
  /** After an asker was told of a deadline or left. Then the process is killed and a new one takes its place. */
  cancelGraceMs: number
  /** After `close()`. */
  closingMs: number
  /** After a start that failed, until the next one. */
  retryMs: number
}

const DEFAULT_TIMEOUTS: EngineTimeouts = {
  // It hears that it is to stop between two runs of graphs: longer than one of a large model takes on a slow machine.
  cancelGraceMs: 10_000,
  closingMs: 1_000,
  retryMs: 5_000,
  restarts: 5,
  withinMs: 60_000,
  pauseMs: 60_000,
}

interface PendingRequest extends BatchShape {
  id: number
  request: InferenceRequest
  hooks: Hooks
  takenAt: number
  startedAt: number
  /** Its asker has been told: what the model still says of it is dropped. */
  ended?: boolean
  overdue?: NodeJS.Timeout
  resolve: (reply: InferenceResult) => void
  reject: (error: unknown) => void
}

// Node runs no TypeScript in a child: under a test runner that reads src/, the compiled one is taken.
const MODEL_PROCESS = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/engine/model-process.js' : './model-process.js',
  import.meta.url,
)

/** A killed process is gone at once, unless a device driver holds on to it. */
const KILLED_MS = 250

/**
 * Opens the artifact in a process of its own. `onPreparing` is told when it is first laid out for this processor, which
 * takes a while. `file` is the process' code. Throws ArtifactError, or SetupError `provider_missing`.
 *
 * A process deep in one native call hears nothing. So deadlines and cancelling are answered on this side, and one that
 * does not come back is killed.
 */
export async function startEngine(
  { onPreparing, env, ...start }: ModelProcessOptions & Pick<ForkOptions, 'onPreparing' | 'env'>,
  file: URL = MODEL_PROCESS,
  limits: Partial<EngineTimeouts> = {},
): Promise<Engine> {
  const timeouts = { ...DEFAULT_TIMEOUTS, ...limits }
  let modelProcess: ModelProcess | undefined = await startModelProcess(start, file, { onPreparing, env })
  let starting: { stop: AbortController; ended: Promise<void> } | undefined
  let closing: Promise<void> | undefined
  /** What the model is at, whether or not anybody still waits for it. */
  const running = new Map<number, PendingRequest>()
  const waiting: PendingRequest[] = []
  /** Why the process was killed, until it is gone. */
  let killReason: 'hung' | 'died' | undefined
  let retry: NodeJS.Timeout | undefined
  let nextId = 1
  const breaker = createBreaker(timeouts)
  let { model } = modelProcess

  const listen = (to: ModelProcess) => {
    recordStartup(to)
    to.onMessage(onMessage)
    // Out of memory, a crash, or killed: who was being answered is told, everybody else goes on with a new process.
    void to.exited.then(onProcessExit)
  }

  const onProcessExit = (end: string) => {
    modelProcess = undefined
    const unanswered = [...running.values()]
    for (const pending of unanswered) {
      removeRunning(pending)
      pending.reject(closing ? errors.closing() : errors.restarting())
    }
    if (closing) return
    const reason = killReason ?? 'died'
    killReason = undefined
    count('glimpse_worker_restarts_total', { reason })
    log.warn('model_lost', errors.restarting(), { reason, end, asks: unanswered.length })
    restart()
  }

  const onMessage = (message: FromChild) => {
    const pending = 'id' in message ? running.get(message.id) : undefined
    if (!pending) return
    switch (message.kind) {
      case 'token':
        return forwardToken(pending, message.text)
      case 'reply': {
        breaker.recordSuccess()
        const timings_ms = withQueueTime(message.reply.timings_ms, pending.startedAt - pending.takenAt)
        for (const stage of STAGES) {
          if (timings_ms[stage] > 0) observe('glimpse_stage_seconds', { stage }, timings_ms[stage] / 1000)
        }
        pending.resolve({ ...message.reply, timings_ms })
        break
      }
      case 'error':
        pending.reject(deserializeError(message.error))
        // What a device holds after it ran out is not given back: a new process begins with all of it.
        if (message.error.code === 'out_of_memory') killProcess('died')
    }
    removeRunning(pending)
    startNext()
  }

  const forwardToken = (pending: PendingRequest, text: string) => {
    if (pending.ended) return
    try {
      pending.hooks.onToken?.(text)
    } catch (error) {
      cancel(pending, cancelled(), error)
    }
  }

  /** The model has done with it. */
  const removeRunning = (pending: PendingRequest) => {
    running.delete(pending.id)
    clearTimeout(pending.overdue)
  }

  const restart = () => {
    if (starting || closing || modelProcess) return
    clearTimeout(retry)
    if (!breaker.tryAcquire(performance.now())) return pause()
    const stop = new AbortController()
    const ended = startModelProcess(start, file, { signal: stop.signal, env }).then(
      (started) => {
        starting = undefined
        if (closing) return started.kill()
        modelProcess = started
        model = started.model
        listen(started)
        startNext()
      },
      (error: unknown) => {
        starting = undefined
        rejectWaiting(closing ? errors.closing() : error)
        if (closing) return
        log.warn('model_not_started', error)
        retry = setTimeout(restart, timeouts.retryMs).unref()
      },
    )
    starting = { stop, ended }
  }

  /** Nobody waits for what is not tried meanwhile; after the pause it is tried without being asked. */
  const pause = () => {
    const ms = breaker.waitMs(performance.now())
    rejectWaiting(errors.modelDown(ms))
    retry = setTimeout(restart, ms).unref()
  }

  const startNext = () => {
    if (running.size > 0 || waiting.length === 0 || closing || killReason) return
    if (!modelProcess) return restart()
    const batch = takeBatch(waiting, start.maxBatch ?? 1)
    try {
      const requests = batch.map(({ id, request, hooks }) => ({
        id,
        request,
        stream: hooks.onToken !== undefined,
      }))
      modelProcess.send({ kind: 'answer', requests })
    } catch (cause) {
      if (batch.length === 1) batch[0]!.reject(errors.unserializable(cause))
      else waiting.unshift(...batch.map((pending) => Object.assign(pending, { key: undefined })))
      return startNext()
    }
    const now = performance.now()
    observe('glimpse_batch_size', {}, batch.length)
    for (const pending of batch) {
      pending.startedAt = now
      running.set(pending.id, pending)
      observe('glimpse_queue_seconds', {}, (now - pending.takenAt) / 1000)
    }
  }

  /** The asker is told at once; the model stops at the next token or stage, or is killed. */
  const cancel = (pending: PendingRequest, error: BusyError, reason: unknown = error) => {
    if (pending.ended) return
    pending.ended = true
    pending.reject(reason)
    const index = waiting.indexOf(pending)
    if (index >= 0) waiting.splice(index, 1)
    else if (running.has(pending.id)) {
      modelProcess?.send({ kind: 'cancel', id: pending.id, error: serializeError(error) })
      pending.overdue = setTimeout(() => killProcess('hung'), timeouts.cancelGraceMs)
    }
  }

  /** The new process waits until the old one is gone: a model may not fit into memory twice. */
  const killProcess = (why: typeof killReason) => {
    killReason = why
    modelProcess?.kill()
  }

  const rejectWaiting = (error: unknown) => {
    for (const pending of waiting.splice(0)) pending.reject(error)
  }

  const close = async (withinMs: number) => {
    clearTimeout(retry)
    rejectWaiting(errors.closing())
    starting?.stop.abort()
    const current = modelProcess
    for (const pending of running.values()) cancel(pending, errors.closing())
    current?.send({ kind: 'close' })
    let timer: NodeJS.Timeout | undefined
    const bound = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        current?.kill()
        timer = setTimeout(resolve, KILLED_MS)
      }, withinMs)
    })
    await Promise.race([Promise.all([starting?.ended, current?.exited]), bound])
    clearTimeout(timer)
  }

  const pendingCount = () => waiting.length + running.size
  const unreadyReason = (): UnreadyReason | undefined => {
    if (closing) return 'closing'
    if (modelProcess && !killReason) return undefined
    return !starting && breaker.waitMs(performance.now()) > 0 ? 'model_down' : 'restarting'
  }

  listen(modelProcess)
  return {
    get model() {
      return model
    },
    get pending() {
      return pendingCount()
    },
    get ready() {
      return unreadyReason() === undefined
    },
    get unreadyReason() {
      return unreadyReason()
    },
    get pid() {
      return modelProcess?.pid
    },
    async answer(request, hooks = {}) {
      const { signal } = hooks
      if (closing) throw errors.closing()
      if (signal?.aborted) throw cancelled()
      const { promise, resolve, reject } = withResolvers<InferenceResult>()
      const now = performance.now()
      const shape = batchShapeOf(request, hooks.onToken !== undefined)
      const pending: PendingRequest = {
        ...shape,
        id: nextId++,
        request,
        hooks,
        takenAt: now,
        startedAt: now,
        resolve,
        reject,
      }
      const onAbort = () => cancel(pending, cancelled())
      const timer = startTimer(request.deadlineMs, () =>
        cancel(pending, errors.deadline(request.deadlineMs!)),
      )
      signal?.addEventListener('abort', onAbort)
      waiting.push(pending)
      startNext()
      setGauge('glimpse_queue_size', {}, pendingCount())
      return promise.finally(() => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        setGauge('glimpse_queue_size', {}, pendingCount())
      })
    },
    close(withinMs = timeouts.closingMs) {
      closing ??= close(withinMs)
      return closing
    },
  }
}

const STAGES = ['image', 'pixels', 'vision', 'queries', 'tokens'] as const

/** What a process that is ready says of itself, as metrics. */
function recordStartup({ model: { provider = 'cpu', fallback }, loadMs }: ModelProcess): void {
  setGauge('glimpse_provider', { provider, fallback: String(fallback !== undefined) }, 1)
  if (fallback !== undefined) log.warn('provider_missing', errors.cpuFallback(fallback))
  for (const [step, ms] of Object.entries(loadMs)) setGauge('glimpse_model_load_seconds', { step }, ms / 1000)
}
