// The model's process as the engine sees it: started, spoken to, ended.

import { fork } from 'node:child_process'
import { deserializeError } from '../errors.ts'
import { log } from '../observe/log.ts'
import type { FromChild, LoadMs, ModelCard, ModelProcessOptions, ToChild } from './protocol.ts'

export interface ModelProcess {
  readonly pid: number | undefined
  readonly model: ModelCard
  readonly loadMs: LoadMs
  /** Throws when the message holds what cannot be copied; does nothing once the process is gone. */
  send(message: ToChild): void
  onMessage(listener: (message: FromChild) => void): void
  /** Resolves with what is known of its end when it is gone and all it said has been heard. */
  readonly exited: Promise<string>
  /** At once, whatever it is at. */
  kill(): void
}

export interface ForkOptions {
  onPreparing?: () => void
  /** Kills the process while it starts. */
  signal?: AbortSignal
  /** Its environment. Default: this process' own, secrets included. */
  env?: Record<string, string | undefined>
}

/** Resolves when it is ready. Throws what it failed with, after it is gone. */
export async function startModelProcess(
  start: ModelProcessOptions,
  file: URL,
  options: ForkOptions = {},
): Promise<ModelProcess> {
  const { onPreparing = () => {}, signal, env } = options
  const child = fork(file, {
    serialization: 'advanced', // bytes go as bytes
    env,
    execArgv: [], // a debugger's port or a loader is the parent's
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'], // standard output is the parent's answer
  })
  const kill = () => void child.kill('SIGKILL')
  const exited = new Promise<string>((resolve) => {
    child.once('close', (code, name) => resolve(name ?? `code ${code}`))
    child.once('error', (error) => {
      // One that never started is never closed.
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
  throw new Error(`The model's process ended before it was ready: ${end}.`)
}
