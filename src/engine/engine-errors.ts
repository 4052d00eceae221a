// What an asker is told when the engine has no answer: one function an error.

import { BusyError, RequestError, SetupError } from '../errors.ts'

export function closing(): BusyError {
  return new BusyError('closing', 'Expected a running model but it is being stopped. Ask again later.')
}

export function restarting(): BusyError {
  return new BusyError(
    'restarting',
    'Expected an answer but the model stopped and is being started again. Ask again in a moment.',
  )
}

export function modelDown(waitMs: number): BusyError {
  return new BusyError(
    'model_down',
    `Expected a running model but it stopped several times in a row. It is tried again in ${Math.ceil(waitMs / 1000)} s.`,
  )
}

export function deadline(deadlineMs: number): BusyError {
  return new BusyError(
    'deadline',
    `Expected an answer within ${deadlineMs} ms but it took longer. Ask again, or allow more time.`,
  )
}

export function unserializable(cause: unknown): RequestError {
  return new RequestError('bad_ask', 'Expected an ask of plain values but it holds others.', { cause })
}

/** Not for askers: what the log gets when the CPU stands in. */
export function cpuFallback(why: string): SetupError {
  return new SetupError('provider_missing', `Runs on the CPU: ${why}`)
}
