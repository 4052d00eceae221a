// A request of any task -> its result: the queue in front of the model process, its deadlines, cancellation and restarts.
// Requests leave the queue in order, in batches (batch.ts). Tokens of a streaming request arrive here as messages and
// go to `hooks.onToken`, from there to the reader (serve/sse.ts, cli/reply.ts).
//
// The server process stays responsive while a graph runs and when native code crashes. A native call cannot be
// interrupted: deadlines and cancellation are answered on this side, and a process that does not react is killed.

import { withResolvers } from '../concurrency.ts'
import { type BusyError, cancelled, deserializeError, SetupError, serializeError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count, observe, setGauge } from '../observe/metrics.ts'
import { startTimer, withTimeout } from '../time.ts'
import { type BatchItem, takeBatch } from './batch.ts'
import * as errors from './engine-errors.ts'
import { type ForkOptions, type ModelProcess, startModelProcess } from './process-handle.ts'
import type { FromChild, ModelCard, ModelProcessOptions } from './protocol.ts'
import type { BaseRequest, BaseResult } from './request.ts'
import type { RequestOf, ResultOf, TaskName, TextTask } from './tasks.ts'
import { withQueueTime } from './timings.ts'

export interface Hooks {
  /** Receives each new piece of text. Called only for one sequence without beams. */
  onToken?: (text: string) => void
  /** Cancels the request at once, waiting or running: it fails with BusyError `cancelled`. */
  signal?: AbortSignal
  /** Names the question of a queue that this is for. An engine that answers later fails with BusyError `waiting`. */
  job?: string
}

export interface Engine {
  readonly model: ModelCard
  /** Asks a remote engine for the card of its model, of which `model` has the name alone. @throws as `answer` */
  describe?(signal?: AbortSignal): Promise<ModelCard>
  /**
   * The result of a request of any task; without `task` it is a caption or an answer.
   * @throws RequestError about the request; BusyError `deadline`, `cancelled`, `restarting`, `model_down`, `closing`,
   * `out_of_memory`
   */
  answer<N extends TaskName = TextTask>(request: RequestOf<N>, hooks?: Hooks): Promise<ResultOf<N>>
  /** Number of requests waiting or running. */
  readonly pending: number
  readonly ready: boolean
  /** Why it is not ready. */
  readonly unreadyReason?: UnreadyReason
  /** The longest that one answer may take, in ms. Set by remote engines that may have to start first. */
  readonly maxWaitMs?: number
  /** Process id of the model process. Absent for a remote engine. */
  readonly pid?: number
  /** Removes what the stages cached of the picture with this sha256. Absent for a remote engine, whose caches expire. */
  forget?(picture: string): Promise<void>
  /** Fails all requests with BusyError `closing`, then ends the model process; kills it after `withinMs` (default 1 s). */
  close(withinMs?: number): Promise<void>
}

/** `restarting` ends without help; `model_down`: restarted too often, and paused. */
export type UnreadyReason = 'restarting' | 'model_down' | 'closing'

export interface EngineTimeouts {
  /** If the model process still runs a request this long after its cancellation or deadline, it is killed and replaced. */
  cancelGraceMs: number
  /** From a failed start to the next one. */
  retryMs: number
  /** At most `restarts` restarts within `withinMs`. A model that crashes at once would load in an endless loop. */
  restarts: number
  withinMs: number
}

const DEFAULT_TIMEOUTS: EngineTimeouts = {
  // Cancellation is checked between graph runs, so this must exceed one run of a large model on a slow machine.
  cancelGraceMs: 10_000,
  retryMs: 5_000,
  restarts: 5,
  withinMs: 60_000,
}
const CLOSE_MS = 1_000
/** A killed process ends within this time, unless a device driver blocks it. */
const KILLED_MS = 250

interface PendingRequest extends BatchItem {
  id: number
  request: BaseRequest
  hooks: Hooks
  queuedAt: number
  startedAt: number
  /** Cancelled or timed out: messages about it are ignored. */
  isEnded: boolean
  killTimer?: NodeJS.Timeout
  resolve: (reply: BaseResult) => void
  reject: (error: unknown) => void
}

// A child process cannot run TypeScript: a test runner that reads src/ starts the compiled file.
const MODEL_PROCESS = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/engine/model-process.js' : './model-process.js',
  import.meta.url,
)

/**
 * Resolves when the model process has opened the artifact. `onPreparing` is called when weights are prepacked first,
 * which takes a while. `file` is the code of the process. @throws ArtifactError; SetupError `provider_missing`
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
  /** Requests that the model process has received, ended ones included. */
  const running = new Map<number, PendingRequest>()
  const waiting: PendingRequest[] = []
  /** Why the process was killed, until it has exited. */
  let killReason: 'hung' | 'died' | undefined
  let retryTimer: NodeJS.Timeout | undefined
  let nextId = 1
  /** Times of the last restarts, at most `timeouts.restarts`. */
  const restarts: number[] = []
  /** Milliseconds until the next restart is allowed. */
  const pauseMs = () =>
    restarts.length < timeouts.restarts
      ? 0
      : Math.max(0, restarts[0]! + timeouts.withinMs - performance.now())
  let { model } = modelProcess

  const listen = (to: ModelProcess) => {
    recordStartup(to)
    to.onMessage(onMessage)
    void to.exited.then(onProcessExit)
  }

  /** Running requests fail; waiting ones stay in the queue for the next process. */
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
        try {
          if (!pending.isEnded) pending.hooks.onToken?.(message.text)
        } catch (error) {
          cancel(pending, cancelled(), error)
        }
        return
      case 'reply': {
        const timings_ms = withQueueTime(message.reply.timings_ms, pending.startedAt - pending.queuedAt)
        for (const stage of STAGES) {
          if (timings_ms[stage] > 0) observe('glimpse_stage_seconds', { stage }, timings_ms[stage] / 1000)
        }
        pending.resolve({ ...message.reply, timings_ms })
        break
      }
      case 'error':
        pending.reject(deserializeError(message.error))
        // A device does not return memory after it ran out: a new process starts with all of it.
        if (message.error.code === 'out_of_memory') killProcess('died')
    }
    removeRunning(pending)
    startNext()
  }

  const removeRunning = (pending: PendingRequest) => {
    running.delete(pending.id)
    clearTimeout(pending.killTimer)
  }

  const restart = () => {
    if (starting || closing || modelProcess) return
    clearTimeout(retryTimer)
    const waitMs = pauseMs()
    if (waitMs > 0) {
      // The restart after the pause does not wait for a request, so that `ready` becomes true again by itself.
      rejectWaiting(errors.modelDown(waitMs))
      retryTimer = setTimeout(restart, waitMs).unref()
      return
    }
    if (restarts.push(performance.now()) > timeouts.restarts) restarts.shift()
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
        retryTimer = setTimeout(restart, timeouts.retryMs).unref()
      },
    )
    starting = { stop, ended }
  }

  const startNext = () => {
    if (running.size > 0 || waiting.length === 0 || closing || killReason) return
    if (!modelProcess) return restart()
    const batch = takeBatch(waiting, start.maxBatch ?? 1)
    try {
      const requests = batch.map(({ id, request, hooks }) => ({ id, request, stream: !!hooks.onToken }))
      modelProcess.send({ kind: 'answer', requests })
    } catch (cause) {
      // One request of the batch cannot be cloned. Sent one by one, only that one fails.
      if (batch.length === 1) batch[0]!.reject(errors.unserializable(cause))
      else waiting.unshift(...batch.map((pending) => Object.assign(pending, { isAlone: true })))
      return startNext()
    }
    const now = performance.now()
    observe('glimpse_batch_size', {}, batch.length)
    for (const pending of batch) {
      pending.startedAt = now
      running.set(pending.id, pending)
      observe('glimpse_queue_seconds', {}, (now - pending.queuedAt) / 1000)
    }
  }

  /** Rejects with `reason` at once. The model process stops at the next token or stage, or is killed. */
  const cancel = (pending: PendingRequest, error: BusyError, reason: unknown = error) => {
    if (pending.isEnded) return
    pending.isEnded = true
    pending.reject(reason)
    const index = waiting.indexOf(pending)
    if (index >= 0) waiting.splice(index, 1)
    else if (running.has(pending.id)) {
      modelProcess?.send({ kind: 'cancel', id: pending.id, error: serializeError(error) })
      pending.killTimer = setTimeout(() => killProcess('hung'), timeouts.cancelGraceMs)
    }
  }

  /** The next process starts when this one has exited: a model may not fit into memory twice. */
  const killProcess = (reason: typeof killReason) => {
    killReason = reason
    modelProcess?.kill()
  }

  const rejectWaiting = (error: unknown) => {
    for (const pending of waiting.splice(0)) pending.reject(error)
  }

  const close = async (withinMs: number) => {
    clearTimeout(retryTimer)
    rejectWaiting(errors.closing())
    starting?.stop.abort()
    const current = modelProcess
    for (const pending of running.values()) cancel(pending, errors.closing())
    current?.send({ kind: 'close' })
    const killTimer = setTimeout(() => current?.kill(), withinMs)
    const ended = Promise.all([starting?.ended, current?.exited])
    await withTimeout(ended, withinMs + KILLED_MS, errors.closing).catch(() => {})
    clearTimeout(killTimer)
  }

  listen(modelProcess)
  const engine: Engine = {
    get model() {
      return model
    },
    get pending() {
      return waiting.length + running.size
    },
    get ready() {
      return engine.unreadyReason === undefined
    },
    get unreadyReason() {
      if (closing) return 'closing'
      if (modelProcess && !killReason) return undefined
      return !starting && pauseMs() > 0 ? 'model_down' : 'restarting'
    },
    get pid() {
      return modelProcess?.pid
    },
    async answer<N extends TaskName>(request: RequestOf<N>, hooks: Hooks = {}) {
      const { signal } = hooks
      const { deadlineMs } = request
      if (closing) throw errors.closing()
      if (signal?.aborted) throw cancelled()
      const { promise, resolve, reject } = withResolvers<BaseResult>()
      const now = performance.now()
      const times = { queuedAt: now, startedAt: now }
      const pending = {
        id: nextId++,
        request,
        hooks,
        ...times,
        isEnded: false,
        resolve,
        reject,
      }
      const onAbort = () => cancel(pending, cancelled())
      const timer = startTimer(deadlineMs, () => cancel(pending, errors.deadline(deadlineMs!)))
      signal?.addEventListener('abort', onAbort)
      waiting.push(pending)
      startNext()
      setGauge('glimpse_queue_size', {}, engine.pending)
      return (promise as Promise<ResultOf<N>>).finally(() => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        setGauge('glimpse_queue_size', {}, engine.pending)
      })
    },
    async forget(picture) {
      modelProcess?.send({ kind: 'forget', picture })
    },
    close(withinMs = CLOSE_MS) {
      closing ??= close(withinMs)
      return closing
    },
  }
  return engine
}

const STAGES = ['image', 'pixels', 'vision', 'queries', 'tokens'] as const

function recordStartup({ model: { provider = 'cpu', fallback }, loadMs }: ModelProcess): void {
  setGauge('glimpse_provider', { provider, fallback: String(fallback !== undefined) }, 1)
  if (fallback !== undefined) {
    log.warn('provider_missing', new SetupError('provider_missing', `The model runs on the CPU: ${fallback}`))
  }
  for (const [step, ms] of Object.entries(loadMs)) setGauge('glimpse_model_load_seconds', { step }, ms / 1000)
}
