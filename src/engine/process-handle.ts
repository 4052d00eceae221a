// Starts the model process (model-process.ts) and returns a handle to it: messages to and from it, its exit, kill.
// The messages are those of protocol.ts.

import { fork } from 'node:child_process'
import { deserializeError } from '../errors.ts'
import { log } from '../observe/log.ts'
import type { FromChild, LoadMs, ModelCard, ModelProcessOptions, ToChild } from './protocol.ts'

export interface ModelProcess {
  readonly pid: number | undefined
  readonly model: ModelCard
  readonly loadMs: LoadMs
  /** Throws when the message cannot be cloned. Does nothing once the process has exited. */
  send(message: ToChild): void
  onMessage(listener: (message: FromChild) => void): void
  /** Resolves with the exit code or signal, after the last message was received. Never rejects. */
  readonly exited: Promise<string>
  /** Sends SIGKILL. */
  kill(): void
}

export interface ForkOptions {
  onPreparing?: () => void
  /** Kills the process while it starts. */
  signal?: AbortSignal
  /** Its environment. Default: this process' own, secrets included. */
  env?: Record<string, string | undefined>
}

/** Resolves when the process is ready. When it fails, throws its error after it has exited. */
export async function startModelProcess(
  start: ModelProcessOptions,
  file: URL,
  options: ForkOptions = {},
): Promise<ModelProcess> {
  const { onPreparing = () => {}, signal, env } = options
  const child = fork(file, {
    serialization: 'advanced', // structured clone: Uint8Array stays Uint8Array
    env,
    execArgv: [], // not the parent's debugger port or loader
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'], // standard output belongs to the parent's result
  })
  const kill = () => void child.kill('SIGKILL')
  const exited = new Promise<string>((resolve) => {
    child.once('close', (code, name) => resolve(name ?? `code ${code}`))
    child.once('error', (error) => {
      // A process that was never spawned emits no `close`.
      if (child.pid === undefined) resolve(error.message)
    })
  })
  const send = (message: ToChild) => {
    if (child.connected) child.send(message, () => {})
  }
  const first = new Promise<FromChild>((resolve) => {
    child.on('message', (message: FromChild) => {
      if (message.kind === 'preparing') onPreparing()
      else if (message.kind === 'not_laid_out')
        log.warn('model_not_laid_out', deserializeError(message.error))
      else resolve(message)
    })
  })
  signal?.addEventListener('abort', kill, { once: true })
  if (signal?.aborted) kill()
  send({ kind: 'open', start })
  const message = await Promise.race([first, exited])
  signal?.removeEventListener('abort', kill)
  if (typeof message === 'object' && message.kind === 'ready') {
    const { model, loadMs } = message
    const onMessage = (listener: (message: FromChild) => void) => void child.on('message', listener)
    return { pid: child.pid, model, loadMs, send, onMessage, exited, kill }
  }
  kill()
  const end = await exited
  if (typeof message === 'object' && message.kind === 'failed') throw deserializeError(message.error)
  throw new Error(`The model process exited before it was ready: ${end}.`)
}
