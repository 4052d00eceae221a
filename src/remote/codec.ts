// A request of any task and its result in the JSON of POST /v1/<task>, and a refusal -> the error it means. The task's row
// in engine/tasks.ts says which fields both have.

import { z } from 'zod'
import { aboutSchema, type ModelCard } from '../engine/protocol.ts'
import type { BaseRequest, BaseResult } from '../engine/request.ts'
import { type TaskName, taskNamed, taskOf } from '../engine/tasks.ts'
import {
  BusyError,
  cancelled,
  type GlimpseError,
  isCode,
  RequestError,
  SetupError,
  UpstreamError,
} from '../errors.ts'
import { log } from '../observe/log.ts'

/** Statuses of a RequestError (errors.ts). */
const CLIENT_ERRORS = new Set([400, 404, 405, 413, 415, 422])
/** Characters of a remote message that are passed on. */
const MAX_MESSAGE_LENGTH = 300

const baseResult: z.ZodType<Omit<BaseResult, 'text'>> = z.object({
  timings_ms: z.record(
    z.enum(['queue', 'image', 'pixels', 'vision', 'queries', 'tokens', 'total']),
    z.number(),
  ),
  model: z.string(),
  picture: z.string(),
})

const cardSchema = z.object({
  name: z.string(),
  about: aboutSchema.optional().catch(undefined),
  instructions: z.literal(true).optional().catch(undefined),
  vectors: z.object({ key: z.string(), count: z.number(), width: z.number() }).optional(),
})

const problemSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) })

/** Not named in a request, so that an older server takes them: it knows no field `task`. */
const UNNAMED_TASKS: readonly TaskName[] = ['caption', 'answer']

/** The body of the request, without the deadline: this side keeps it. */
export function encodeRequest(request: BaseRequest): string {
  const { image, picture } = request
  const name = taskOf(request)
  const known = Object.keys(taskNamed(name).fields.shape)
  const fields = Object.fromEntries(Object.entries(request).filter(([field]) => known.includes(field)))
  const task = UNNAMED_TASKS.includes(name) ? undefined : name
  return JSON.stringify({ ...fields, task, picture, image: image && Buffer.from(image).toString('base64') })
}

/** @throws UpstreamError `engine_failed` */
export function decodeReply(text: string, request: BaseRequest): BaseResult {
  const json = jsonOf(text)
  const own = taskNamed(taskOf(request)).result.safeParse(json)
  const base = baseResult.safeParse(json)
  if (own.success && base.success) return { ...(own.data as BaseResult), ...base.data }
  throw engineFailed('its answer is not a result of Glimpse')
}

/** The card that GET /v1/model answers with: the parts that another machine needs. @throws UpstreamError `engine_failed` */
export function decodeCard(text: string): ModelCard {
  const { success, data } = cardSchema.safeParse(jsonOf(text))
  if (success) return data
  throw engineFailed('its model has no card of Glimpse')
}

/** The error of a refusal. `picture_forgotten` also when the remote engine takes no pictures by their sha256. */
export function decodeError(status: number, text: string, { image, picture }: BaseRequest): GlimpseError {
  const { code, message } = problemOf(text) ?? { code: undefined, message: '' }
  if (code === 'picture_forgotten' || (CLIENT_ERRORS.has(status) && picture !== undefined && !image)) {
    return new RequestError(
      'picture_forgotten',
      'Expected a picture that is still in the cache but it was removed. Send its bytes again.',
    )
  }
  if (status === 401 || status === 403) {
    return new SetupError(
      'engine_refused',
      `The remote engine (GLIMPSE_ENGINE) answered ${status}. Set the same GLIMPSE_API_TOKEN on both machines.`,
    )
  }
  if (CLIENT_ERRORS.has(status) && code !== undefined) {
    return isCode('request', code)
      ? new RequestError(code, message)
      : unknownCode(code, new RequestError('refused_elsewhere', message))
  }
  if (status === 499) return cancelled()
  if (status === 504) return deadlineError()
  if (status === 429 || status === 503) {
    const reason = message || 'The remote engine is busy. Try again in a moment.'
    if (code === undefined || isCode('busy', code)) return new BusyError(code ?? 'busy', reason)
    return unknownCode(code, new BusyError('busy', reason))
  }
  return engineFailed(`it answered ${status}${code === undefined ? '' : ` (${code})`}`)
}

/** Another version of Glimpse may have other codes. Logs the one that `error` replaces. */
function unknownCode<T extends GlimpseError>(theirs: string, error: T): T {
  log.warn('unknown_code', error, { theirs })
  return error
}

export function engineFailed(why: string, cause?: unknown): UpstreamError {
  return new UpstreamError(
    'engine_failed',
    `Expected an answer of the remote engine (GLIMPSE_ENGINE) but ${why}.`,
    { cause },
  )
}

export function deadlineError(): BusyError {
  return new BusyError(
    'deadline',
    'Expected an answer before the deadline but it took longer. Try again, or allow more time.',
  )
}

/** Also of a problem that SageMaker wrapped in another message, with its quotes escaped or not. */
function problemOf(text: string): { code: string; message: string } | undefined {
  const plain = problemSchema.safeParse(jsonOf(text)).data?.error
  if (plain) return { code: plain.code, message: plain.message.slice(0, MAX_MESSAGE_LENGTH) }
  const code = /\\?"code\\?":\s?\\?"([a-z_]+)\\?"/.exec(text)?.[1]
  const message = /\\?"message\\?":\s?\\?"([^"\\]*)/.exec(text)?.[1]
  return code === undefined ? undefined : { code, message: (message ?? '').slice(0, MAX_MESSAGE_LENGTH) }
}

/** Undefined for a text that is not JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
