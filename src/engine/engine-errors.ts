// The errors that the engine itself raises: one function an error. Errors about a picture, a question or settings come
// from the model process.

import { BusyError, RequestError } from '../errors.ts'

export function closing(): BusyError {
  return new BusyError('closing', 'The model is being stopped. Send the request again later.')
}

export function restarting(): BusyError {
  return new BusyError(
    'restarting',
    'The model process stopped before it answered and is being restarted. Send the request again in a moment.',
  )
}

export function modelDown(waitMs: number): BusyError {
  return new BusyError(
    'model_down',
    `The model process stopped several times in a row. It is restarted in ${Math.ceil(waitMs / 1000)} s: send the request again then.`,
  )
}

export function deadline(deadlineMs: number): BusyError {
  return new BusyError(
    'deadline',
    `The request was not answered within its deadline of ${deadlineMs} ms. Send it again, or raise deadlineMs (GLIMPSE_DEADLINE_MS of a server).`,
  )
}

export function unserializable(cause: unknown): RequestError {
  return new RequestError(
    'bad_ask',
    'The request holds a value that cannot be sent to the model process. Pass plain data and Uint8Array only.',
    { cause },
  )
}
