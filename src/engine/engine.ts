// Asks in, replies out: a queue in front of the model's process. This process goes on answering while the model runs,
// and when the model crashes.

import { type BusyError, deserializeError, serializeError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { count, observe, setTo } from '../observe/metrics.ts'
import { type Company, companyOf, takeBatch } from './batch.ts'
import { type BreakerLimits, breaker } from './breaker.ts'
import * as trouble from './engine-errors.ts'
import { type Child, startChild } from './process-handle.ts'
import type { FromChild, ModelCard, Start } from './protocol.ts'
import type { Ask, Reply } from './request.ts'
import { afterWaiting } from './timings.ts'

export interface Hooks {
  /** Told each new piece of text while a single answer is made without beams. */
  onToken?: (text: string) => void
  /** Ends the run, waiting or under way, with BusyError `cancelled`, at once. */
  signal?: AbortSignal
}

export interface Engine {
  readonly model: ModelCard
  /** The whole path. Throws RequestError about the ask, BusyError `deadline`, `cancelled`, `restarting`, `model_down` ... */
  answer(ask: Ask, hooks?: Hooks): Promise<Reply>
  /** Asks waiting or under way. */
  readonly load: number
  /** False while the model's process is being replaced, or could not be. */
  readonly ready: boolean
  /** How long an answer may take here, where that is longer than people are used to: an engine elsewhere may sleep. */
  readonly patienceMs?: number
  /** Why it is not ready. */
  readonly unready?: Unready
  /** The model's process, where there is one on this machine. */
  readonly pid?: number
  /** Ends what waits and runs, then the process, which is killed after `withinMs` (default 1 s). */
  close(withinMs?: number): Promise<void>
}

/** `restarting` passes by itself; `model_down` ended too often and is left alone for a while. */
export type Unready = 'restarting' | 'model_down' | 'closing'

/** How long the model may go on with what nobody waits for any more, and how often it may end. */
export interface Patience extends BreakerLimits {
  /** After an asker was told of a deadline or left. Then the process is killed and a new one takes its place. */
  endedMs: number
  /** After `close()`. */
  closingMs: number
  /** After a start that failed, until the next one. */
  retryMs: number
}

const PATIENCE: Patience = {
  // It hears that it is to stop between two runs of graphs: longer than one of a large model takes on a slow machine.
  endedMs: 10_000,
  closingMs: 1_000,
  retryMs: 5_000,
  restarts: 5,
  withinMs: 60_000,
  pauseMs: 60_000,
}

interface Job extends Company {
  id: number
  ask: Ask
  hooks: Hooks
  takenAt: number
  startedAt: number
  /** Its asker has been told: what the model still says of it is dropped. */
  ended?: boolean
  overdue?: NodeJS.Timeout
  resolve: (reply: Reply) => void
  reject: (error: unknown) => void
}

// Node runs no TypeScript in a child: under a test runner that reads src/, the compiled one is taken.
const CHILD = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/engine/model-process.js' : './model-process.js',
  import.meta.url,
)
/** setTimeout takes no more, and fires at once when given more. */
const MAX_TIMER_MS = 2 ** 31 - 1
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
  { onPreparing, ...start }: Start & { onPreparing?: () => void },
  file: URL = CHILD,
  limits: Partial<Patience> = {},
): Promise<Engine> {
  const patience = { ...PATIENCE, ...limits }
  let child: Child | undefined = await startChild(start, file, { onPreparing })
  let starting: { stop: AbortController; ended: Promise<void> } | undefined
  let closing: Promise<void> | undefined
  /** What the model is at, whether or not anybody still waits for it. */
  const running = new Map<number, Job>()
  const waiting: Job[] = []
  /** Why the process was killed, until it is gone. */
  let dying: 'hung' | 'died' | undefined
  let retry: NodeJS.Timeout | undefined
  let nextId = 1
  const fuse = breaker(patience)
  let { model } = child

  const listen = (to: Child) => {
    tell(to)
    to.hear(hear)
    // Out of memory, a crash, or killed: who was being answered is told, everybody else goes on with a new process.
    void to.exited.then(lost)
  }

  const lost = (end: string) => {
    child = undefined
    const jobs = [...running.values()]
    for (const job of jobs) {
      settle(job)
      job.reject(closing ? trouble.closing() : trouble.restarting())
    }
    if (closing) return
    const reason = dying ?? 'died'
    dying = undefined
    count('glimpse_worker_restarts_total', { reason })
    log.warn('model_lost', trouble.restarting(), { reason, end, asks: jobs.length })
    restart()
  }

  const hear = (message: FromChild) => {
    const job = 'id' in message ? running.get(message.id) : undefined
    if (!job) return
    switch (message.kind) {
      case 'token':
        return pass(job, message.text)
      case 'reply': {
        fuse.proved()
        const timings_ms = afterWaiting(message.reply.timings_ms, job.startedAt - job.takenAt)
        for (const stage of STAGES) {
          if (timings_ms[stage] > 0) observe('glimpse_stage_seconds', { stage }, timings_ms[stage] / 1000)
        }
        job.resolve({ ...message.reply, timings_ms })
        break
      }
      case 'error':
        job.reject(deserializeError(message.error))
        // What a device holds after it ran out is not given back: a new process begins with all of it.
        if (message.error.code === 'out_of_memory') giveUp('died')
    }
    settle(job)
    startNext()
  }

  const pass = (job: Job, text: string) => {
    if (job.ended) return
    try {
      job.hooks.onToken?.(text)
    } catch (error) {
      end(job, trouble.cancelled(), error)
    }
  }

  /** The model has done with it. */
  const settle = (job: Job) => {
    running.delete(job.id)
    clearTimeout(job.overdue)
  }

  const restart = () => {
    if (starting || closing || child) return
    clearTimeout(retry)
    if (!fuse.take(performance.now())) return pause()
    const stop = new AbortController()
    const ended = startChild(start, file, { signal: stop.signal }).then(
      (started) => {
        starting = undefined
        if (closing) return started.kill()
        child = started
        model = started.model
        listen(started)
        startNext()
      },
      (error: unknown) => {
        starting = undefined
        dismiss(closing ? trouble.closing() : error)
        if (closing) return
        log.warn('model_not_started', error)
        retry = setTimeout(restart, patience.retryMs).unref()
      },
    )
    starting = { stop, ended }
  }

  /** Nobody waits for what is not tried meanwhile; after the pause it is tried without being asked. */
  const pause = () => {
    const ms = fuse.waitMs(performance.now())
    dismiss(trouble.down(ms))
    retry = setTimeout(restart, ms).unref()
  }

  const startNext = () => {
    if (running.size > 0 || waiting.length === 0 || closing || dying) return
    if (!child) return restart()
    const batch = takeBatch(waiting, start.maxBatch ?? 1)
    try {
      const asks = batch.map(({ id, ask, hooks }) => ({ id, ask, stream: hooks.onToken !== undefined }))
      child.send({ kind: 'answer', asks })
    } catch (cause) {
      if (batch.length === 1) batch[0]!.reject(trouble.badAsk(cause))
      else waiting.unshift(...batch.map((job) => Object.assign(job, { key: undefined })))
      return startNext()
    }
    const now = performance.now()
    observe('glimpse_batch_size', {}, batch.length)
    for (const job of batch) {
      job.startedAt = now
      running.set(job.id, job)
      observe('glimpse_queue_seconds', {}, (now - job.takenAt) / 1000)
    }
  }

  /** The asker is told at once; the model stops at the next token or stage, or is killed. */
  const end = (job: Job, error: BusyError, told: unknown = error) => {
    if (job.ended) return
    job.ended = true
    job.reject(told)
    const place = waiting.indexOf(job)
    if (place >= 0) waiting.splice(place, 1)
    else if (running.has(job.id)) {
      child?.send({ kind: 'cancel', id: job.id, error: serializeError(error) })
      job.overdue = setTimeout(() => giveUp('hung'), patience.endedMs)
    }
  }

  /** The new process waits until the old one is gone: a model may not fit into memory twice. */
  const giveUp = (why: typeof dying) => {
    dying = why
    child?.kill()
  }

  const dismiss = (error: unknown) => {
    for (const job of waiting.splice(0)) job.reject(error)
  }

  const close = async (withinMs: number) => {
    clearTimeout(retry)
    dismiss(trouble.closing())
    starting?.stop.abort()
    const dying = child
    for (const job of running.values()) end(job, trouble.closing())
    dying?.send({ kind: 'close' })
    let timer: NodeJS.Timeout | undefined
    const bound = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        dying?.kill()
        timer = setTimeout(resolve, KILLED_MS)
      }, withinMs)
    })
    await Promise.race([Promise.all([starting?.ended, dying?.exited]), bound])
    clearTimeout(timer)
  }

  const loadOf = () => waiting.length + running.size
  const unready = (): Unready | undefined => {
    if (closing) return 'closing'
    if (child && !dying) return undefined
    return !starting && fuse.waitMs(performance.now()) > 0 ? 'model_down' : 'restarting'
  }

  listen(child)
  return {
    get model() {
      return model
    },
    get load() {
      return loadOf()
    },
    get ready() {
      return unready() === undefined
    },
    get unready() {
      return unready()
    },
    get pid() {
      return child?.pid
    },
    async answer(ask, hooks = {}) {
      const { signal } = hooks
      if (closing) throw trouble.closing()
      if (signal?.aborted) throw trouble.cancelled()
      const { promise, resolve, reject } = withResolvers<Reply>()
      const now = performance.now()
      const company = companyOf(ask, hooks.onToken !== undefined)
      const job: Job = { ...company, id: nextId++, ask, hooks, takenAt: now, startedAt: now, resolve, reject }
      const onAbort = () => end(job, trouble.cancelled())
      const timer = startTimer(ask.deadlineMs, () => end(job, trouble.deadline(ask.deadlineMs!)))
      signal?.addEventListener('abort', onAbort)
      waiting.push(job)
      startNext()
      setTo('glimpse_queue_size', {}, loadOf())
      return promise.finally(() => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        setTo('glimpse_queue_size', {}, loadOf())
      })
    },
    close(withinMs = patience.closingMs) {
      closing ??= close(withinMs)
      return closing
    },
  }
}

const STAGES = ['image', 'pixels', 'vision', 'queries', 'tokens'] as const

/** What a process that is ready says of itself, as metrics. */
function tell({ model: { provider = 'cpu', fallback }, loadMs }: Child): void {
  setTo('glimpse_provider', { provider, fallback: String(fallback !== undefined) }, 1)
  if (fallback !== undefined) log.warn('provider_missing', trouble.standIn(fallback))
  for (const [step, ms] of Object.entries(loadMs)) setTo('glimpse_model_load_seconds', { step }, ms / 1000)
}

function startTimer(ms: number | undefined, then: () => void): NodeJS.Timeout | undefined {
  if (ms === undefined || ms === Number.POSITIVE_INFINITY) return undefined
  return setTimeout(then, Math.min(ms, MAX_TIMER_MS))
}

/** Promise.withResolvers, which Node has from 22 on. */
function withResolvers<T>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
