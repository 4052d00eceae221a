// Asks in, replies out: a queue in front of the model's thread. The process goes on answering while the model runs.

import { Worker } from 'node:worker_threads'
import { AskError, BusyError, fromWire, toWire } from '../errors.ts'
import type { Ask, Reply } from './ask.ts'
import { afterWaiting } from './clock.ts'
import type { FromThread, ModelCard, Start, ToThread } from './protocol.ts'

export interface Hooks {
  /** Told each new piece of text while a single answer is made without beams. */
  onToken?: (text: string) => void
  /** Ends the run, waiting or under way, with BusyError `cancelled`, at once. */
  signal?: AbortSignal
}

export interface Engine {
  readonly model: ModelCard
  /** The whole path. Throws AskError about the ask, BusyError `deadline`, `cancelled` or `restarting`. */
  answer(ask: Ask, hooks?: Hooks): Promise<Reply>
  /** Asks waiting or under way. */
  readonly load: number
  /** False while the model's thread is being replaced, or could not be. */
  readonly ready: boolean
  /** How long an answer may take here, where that is longer than people are used to: an engine elsewhere may sleep. */
  readonly patienceMs?: number
  /** Ends what waits and runs, then the thread. */
  close(): Promise<void>
}

/** How long the thread may go on with what nobody waits for any more; then it is terminated. */
export interface Patience {
  /** After its asker was told of a deadline or left. A new thread takes its place. */
  endedMs: number
  /** After `close()`. */
  closingMs: number
}

/** A thread hears that it is to stop between two runs of graphs: longer than one of a large model takes on a slow machine. */
const PATIENCE: Patience = { endedMs: 10_000, closingMs: 8_000 }

interface Job {
  id: number
  ask: Ask
  hooks: Hooks
  takenAt: number
  startedAt: number
  /** Its asker has been told: what the thread still says of it is dropped. */
  ended?: boolean
  resolve: (reply: Reply) => void
  reject: (error: unknown) => void
}

interface Thread {
  worker: Worker
  model: ModelCard
  exited: Promise<void>
}

// Node runs no TypeScript in a thread: under a test runner that reads src/, the compiled thread is taken.
const THREAD = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/job/thread.js' : './thread.js',
  import.meta.url,
)
/** setTimeout takes no more, and fires at once when given more. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Opens the artifact in a thread of its own. `onPreparing` is told when it is first laid out for this processor, which
 * takes a while. `file` is the thread's code. Throws ArtifactError.
 *
 * A thread deep in one native call hears nothing. So deadlines and cancelling are answered on this side, and a thread
 * that does not come back is given up.
 */
export async function startEngine(
  { onPreparing, ...options }: Start & { onPreparing?: () => void },
  file: URL = THREAD,
  patience: Patience = PATIENCE,
): Promise<Engine> {
  let thread: Thread | undefined = await startThread(options, file, onPreparing)
  let starting: Promise<void> | undefined
  let closing: Promise<void> | undefined
  /** What the thread is at, whether or not anybody still waits for it. */
  let running: Job | undefined
  let overdue: NodeJS.Timeout | undefined
  let givenUp = false
  const waiting: Job[] = []
  let nextId = 1
  const { model } = thread

  const send = (message: ToThread) => thread?.worker.postMessage(message)

  const listen = (to: Thread) => {
    to.worker.on('message', hear)
    // Out of memory, or a bug: who was being answered is told, everybody else goes on with a new thread.
    void to.exited.then(() => {
      thread = undefined
      givenUp = false
      const job = running
      setFree()
      job?.reject(closing ? closingError() : restartingError())
      if (!closing) restart()
    })
  }

  const hear = (message: FromThread) => {
    const job = running
    if (!job || !('id' in message) || message.id !== job.id) return
    if (message.kind === 'token') return tell(job, message.text)
    setFree()
    if (message.kind === 'error') job.reject(fromWire(message.error))
    else {
      const timings_ms = afterWaiting(message.reply.timings_ms, job.startedAt - job.takenAt)
      job.resolve({ ...message.reply, timings_ms })
    }
    startNext()
  }

  const tell = (job: Job, text: string) => {
    if (job.ended) return
    try {
      job.hooks.onToken?.(text)
    } catch (error) {
      end(job, cancelledError(), error)
    }
  }

  const setFree = () => {
    running = undefined
    clearTimeout(overdue)
  }

  /** After a restart that failed nothing is tried until somebody asks again. */
  const restart = () => {
    starting ??= startThread(options, file).then(
      (started) => {
        thread = started
        starting = undefined
        listen(started)
        startNext()
      },
      (error: unknown) => {
        starting = undefined
        dismiss(error)
      },
    )
  }

  const startNext = () => {
    if (running || waiting.length === 0 || closing) return
    if (!thread) return restart()
    const job = waiting.shift()!
    job.startedAt = performance.now()
    running = job
    try {
      send({ kind: 'answer', id: job.id, ask: job.ask, stream: job.hooks.onToken !== undefined })
    } catch (cause) {
      setFree()
      job.reject(new AskError('bad_ask', 'Expected an ask of plain values but it holds others.', { cause }))
      startNext()
    }
  }

  /** The asker is told at once; the thread stops at the next token or stage, or is given up. */
  const end = (job: Job, error: BusyError, told: unknown = error) => {
    if (job.ended) return
    job.ended = true
    job.reject(told)
    const place = waiting.indexOf(job)
    if (place >= 0) waiting.splice(place, 1)
    else if (running === job) {
      send({ kind: 'cancel', id: job.id, error: toWire(error) })
      overdue = setTimeout(giveUp, patience.endedMs)
    }
  }

  /** The new thread waits until the old one is gone: a model may not fit into memory twice. */
  const giveUp = () => {
    givenUp = true
    void thread?.worker.terminate()
  }

  const dismiss = (error: unknown) => {
    for (const job of waiting.splice(0)) job.reject(error)
  }

  const close = async () => {
    dismiss(closingError())
    await starting
    if (!thread) return
    if (running) end(running, closingError())
    send({ kind: 'close' })
    const bound = setTimeout(giveUp, patience.closingMs)
    await thread.exited
    clearTimeout(bound)
  }

  listen(thread)
  return {
    model,
    get load() {
      return waiting.length + (running ? 1 : 0)
    },
    get ready() {
      return thread !== undefined && !givenUp && closing === undefined
    },
    async answer(ask, hooks = {}) {
      const { signal } = hooks
      if (closing) throw closingError()
      if (signal?.aborted) throw cancelledError()
      const { promise, resolve, reject } = withResolvers<Reply>()
      const now = performance.now()
      const job: Job = { id: nextId++, ask, hooks, takenAt: now, startedAt: now, resolve, reject }
      const onAbort = () => end(job, cancelledError())
      const timer = startTimer(ask.deadlineMs, () => end(job, deadlineError(ask.deadlineMs!)))
      signal?.addEventListener('abort', onAbort)
      waiting.push(job)
      startNext()
      return promise.finally(() => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      })
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}

async function startThread(options: Start, file: URL, onPreparing = () => {}): Promise<Thread> {
  const worker = new Worker(file, { workerData: options })
  let last: unknown
  worker.on('error', (error) => {
    last = error
  })
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const first = new Promise<FromThread>((resolve) => {
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'preparing') onPreparing()
      else resolve(message)
    })
  })
  const message = await Promise.race([first, exited])
  if (message?.kind === 'ready') return { worker, model: message.model, exited }
  await worker.terminate()
  if (message?.kind === 'failed') throw fromWire(message.error)
  throw new Error("The model's thread ended before it was ready.", { cause: last })
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

function cancelledError(): BusyError {
  return new BusyError('cancelled', 'The run was cancelled by the one who asked.')
}

function closingError(): BusyError {
  return new BusyError('closing', 'Expected a running model but it is being stopped. Ask again later.')
}

function restartingError(): BusyError {
  return new BusyError(
    'restarting',
    'Expected an answer but the model stopped and is being started again. Ask again in a moment.',
  )
}

function deadlineError(deadlineMs: number): BusyError {
  return new BusyError(
    'deadline',
    `Expected an answer within ${deadlineMs} ms but it took longer. Ask again, or allow more time.`,
  )
}
