// A Glimpse at another address as an engine: asks go there, replies come back. GLIMPSE_ENGINE=https://host
//
// Whoever is busy or still loading there says when to come back, and is asked again within the deadline. The other side
// hears of a deadline or of an asker who left by the connection that closes: it ends the run.

import type { Engine } from '../engine/engine.ts'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
import { decodeError, decodeReply, encodeRequest, engineFailed, isCaption } from './codec.ts'
import type { Deadline } from './deadline.ts'
import { remoteEngine } from './engine.ts'

export interface HttpEngineOptions {
  /** `https://host`, with a path before /v1 if there is one. */
  url: string
  /** Sent as Authorization: Bearer; '' sends none. */
  token: string
  /** For asks that bring none, and as long as people are kept waiting where the other sleeps. */
  deadlineMs: number
  /** Between two tries where the other does not say. */
  firstWaitMs?: number
}

/** Busy, loading, or something on the way that could not reach it. */
const RETRYABLE = new Set([429, 502, 503])
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 15_000

export function openHttpEngine({
  url,
  token,
  deadlineMs,
  firstWaitMs = FIRST_WAIT_MS,
}: HttpEngineOptions): Engine {
  const base = url.replace(/\/+$/, '')

  const post = async (path: string, body: string, { signal }: Deadline) =>
    await fetch(`${base}${path}`, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      },
      // A token goes to nobody but the one it was given for.
      redirect: 'error',
      signal,
    }).then(async (response) => ({ response, text: await response.text() }))

  const ask = async (request: InferenceRequest, deadline: Deadline): Promise<InferenceResult> => {
    const path = isCaption(request) ? '/v1/caption' : '/v1/answer'
    const body = encodeRequest(request)
    for (let waitMs = firstWaitMs; ; waitMs *= 2) {
      deadline.throwIfEnded()
      const answered = await post(path, body, deadline).catch((cause: unknown) => {
        deadline.throwIfEnded()
        return engineFailed('it could not be reached', cause)
      })
      if (!(answered instanceof Error) && answered.response.ok) return decodeReply(answered.text)
      const error =
        answered instanceof Error ? answered : decodeError(answered.response.status, answered.text, request)
      if (!(answered instanceof Error) && !RETRYABLE.has(answered.response.status)) throw error
      const asked =
        answered instanceof Error ? 0 : 1_000 * Number(answered.response.headers.get('retry-after'))
      const pauseMs = Math.min(LONGEST_WAIT_MS, asked > 0 ? asked : waitMs)
      // Its own reason says more than that time is over.
      if (pauseMs >= deadline.remainingMs()) throw error
      await deadline.wait(pauseMs)
    }
  }

  return remoteEngine(`Glimpse at ${new URL(base).host}`, deadlineMs, ask)
}
