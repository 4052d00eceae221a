// Another Glimpse server as an engine: GLIMPSE_ENGINE=https://host. A request -> POST /v1/<task> -> its result.
//
// A server that is busy or still loads is asked again after its Retry-After, within the deadline. When the deadline ends or
// the caller cancels, the connection closes, and the server stops working on the request.

import type { Engine } from '../engine/engine.ts'
import type { BaseRequest, BaseResult } from '../engine/request.ts'
import { taskOf } from '../engine/tasks.ts'
import { isGlimpseError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { decodeCard, decodeError, decodeReply, encodeRequest, engineFailed } from './codec.ts'
import { type Deadline, startDeadline } from './deadline.ts'
import { remoteEngine } from './engine.ts'

export interface HttpEngineOptions {
  /** `https://host`, or with a path in front of /v1. */
  url: string
  /** Bearer token; '' sends none. */
  token: string
  /** For requests without a deadline of their own. */
  deadlineMs: number
  /** Wait before the first retry, doubled each time, when the server sends no Retry-After. Default 500. */
  firstWaitMs?: number
}

/** Busy, loading, or a proxy that did not reach the server. */
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
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (token !== '') headers['authorization'] = `Bearer ${token}`
  const redirect = 'error' // another host must not receive the token

  /** The body of the answer. @param request what an error is about */
  const exchange = async (
    path: string,
    init: RequestInit,
    request: BaseRequest,
    deadline: Deadline,
  ): Promise<string> => {
    for (let waitMs = firstWaitMs; ; waitMs *= 2) {
      deadline.throwIfEnded()
      let error: Error
      let retryAfterMs = 0
      try {
        const response = await fetch(`${base}${path}`, {
          ...init,
          headers,
          redirect,
          signal: deadline.signal,
        })
        const text = await response.text()
        if (response.ok) return text
        error = decodeError(response.status, text, request)
        if (!RETRYABLE.has(response.status)) throw error
        retryAfterMs = 1_000 * Number(response.headers.get('retry-after'))
      } catch (cause) {
        deadline.throwIfEnded()
        if (isGlimpseError(cause)) throw cause
        error = engineFailed('it could not be reached', cause)
      }
      const pauseMs = Math.min(LONGEST_WAIT_MS, retryAfterMs > 0 ? retryAfterMs : waitMs)
      // The server's reason says more than an exceeded deadline.
      if (pauseMs >= deadline.remainingMs()) throw error
      await deadline.wait(pauseMs)
    }
  }

  const send = async (request: BaseRequest, deadline: Deadline): Promise<BaseResult> => {
    const post = { method: 'POST', body: encodeRequest(request) }
    return decodeReply(await exchange(`/v1/${taskOf(request)}`, post, request, deadline), request)
  }

  /** Names the picture by its sha256 first. Its bytes travel only when the other Glimpse does not know it. */
  const ask = async (request: BaseRequest, deadline: Deadline): Promise<BaseResult> => {
    const { image, ...rest } = request
    if (!image) return await send(request, deadline)
    return await send({ ...rest, picture: sha256Hex(image) }, deadline).catch((error: unknown) => {
      if (isGlimpseError(error) && error.code === 'picture_forgotten') return send(request, deadline)
      throw error
    })
  }

  return Object.assign(remoteEngine(`Glimpse at ${new URL(base).host}`, deadlineMs, ask), {
    async describe(signal?: AbortSignal) {
      const deadline = startDeadline(deadlineMs, signal)
      try {
        return decodeCard(await exchange('/v1/model', {}, {}, deadline))
      } finally {
        deadline.end()
      }
    },
  })
}
