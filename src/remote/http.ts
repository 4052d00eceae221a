// Another Glimpse server as an engine: GLIMPSE_ENGINE=https://host. A request -> POST /v1/<task> -> its result.
//
// A picture that is too large for a request goes through the server's uploads, where it has them: its bytes stay as they are,
// so that its sha256 is the original's.
//
// A server that is busy or still loads is asked again after its Retry-After, within the deadline. When the deadline ends or
// the caller cancels, the connection closes, and the server stops working on the request.

import { z } from 'zod'
import type { Engine } from '../engine/engine.ts'
import type { BaseRequest, BaseResult } from '../engine/request.ts'
import { taskOf } from '../engine/tasks.ts'
import { isGlimpseError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { decodeCard, decodeError, decodeReply, encodeRequest, engineFailed, jsonOf } from './codec.ts'
import { type Deadline, startDeadline } from './deadline.ts'
import { remoteEngine } from './engine.ts'
import type { Sign } from './signed.ts'

export interface HttpEngineOptions {
  /** `https://host`, or with a path in front of /v1. */
  url: string
  /** Bearer token; '' sends none. */
  token: string
  /** For requests without a deadline of their own. */
  deadlineMs: number
  /** Signs each request, in place of the token: for the URL of a Lambda function. */
  sign?: Sign
  /** Wait before the first retry, doubled each time, when the server sends no Retry-After. Default 500. */
  firstWaitMs?: number
}

/** Busy, loading, or a proxy that did not reach the server. */
const RETRYABLE = new Set([429, 502, 503])
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 15_000
/** Lambda takes requests of 6 MB, of which base64 leaves 4.5 MB for the picture. Cloud Run takes 32 MB. */
const MAX_INLINE_BYTES = 4_000_000
const uploadSchema = z.object({
  upload: z.string(),
  url: z.string(),
  headers: z.record(z.string(), z.string()),
})

export function openHttpEngine({
  url,
  token,
  deadlineMs,
  sign,
  firstWaitMs = FIRST_WAIT_MS,
}: HttpEngineOptions): Engine {
  const base = url.replace(/\/+$/, '')
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (token !== '' && !sign) headers['authorization'] = `Bearer ${token}`
  const redirect = 'error' // another host must not receive the token

  /** The body of the answer. @param request what an error is about */
  const exchange = async (
    path: string,
    init: { method: string; body?: string },
    request: BaseRequest,
    deadline: Deadline,
  ): Promise<string> => {
    for (let waitMs = firstWaitMs; ; waitMs *= 2) {
      deadline.throwIfEnded()
      let error: Error
      let retryAfterMs = 0
      try {
        const url = `${base}${path}`
        const response = await fetch(url, {
          ...init,
          headers: sign ? await sign({ ...init, url, headers }) : headers,
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

  /** The id of the uploaded picture; undefined when the server takes no uploads. */
  const upload = async (image: Uint8Array, deadline: Deadline): Promise<string | undefined> => {
    const post = { method: 'POST', body: JSON.stringify({ size_bytes: image.length }) }
    const text = await exchange('/v1/uploads', post, { image }, deadline).catch((error: unknown) => {
      if (isGlimpseError(error) && error.code === 'no_uploads') return undefined
      throw error
    })
    if (text === undefined) return undefined
    const found = uploadSchema.safeParse(jsonOf(text))
    if (!found.success) throw engineFailed('its answer is not an upload of Glimpse')
    // The client sets the length, which the address is signed for.
    const { 'content-length': _, ...rest } = found.data.headers
    const put = {
      method: 'PUT',
      body: image as BodyInit,
      headers: rest,
      redirect,
      signal: deadline.signal,
    } as const
    const response = await fetch(found.data.url, put).catch((cause: unknown) => {
      deadline.throwIfEnded()
      throw engineFailed('its bucket could not be reached', cause)
    })
    await response.body?.cancel()
    if (!response.ok) throw engineFailed(`its bucket answered ${response.status} to the picture`)
    return found.data.upload
  }

  const send = async (request: BaseRequest, deadline: Deadline): Promise<BaseResult> => {
    const { image } = request
    const isLarge = image !== undefined && image.length > MAX_INLINE_BYTES
    const uploaded = isLarge ? await upload(image, deadline) : undefined
    const body = uploaded
      ? JSON.stringify({ ...JSON.parse(encodeRequest({ ...request, image: undefined })), upload: uploaded })
      : encodeRequest(request)
    const post = { method: 'POST', body }
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
        return decodeCard(await exchange('/v1/model', { method: 'GET' }, {}, deadline))
      } finally {
        deadline.end()
      }
    },
  })
}
