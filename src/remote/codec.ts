// An ask and its reply as they travel to a Glimpse elsewhere and back: the JSON of POST /v1/caption and /v1/answer.

import { z } from 'zod'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
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

/** What errors.ts sends back with a status that says the ask itself is at fault. */
const CLIENT_ERRORS = new Set([400, 404, 405, 413, 415, 422])
/** A remote's own words are told on, but not a page of them. */
const MAX_WORDS = 300

const replySchema: z.ZodType<InferenceResult> = z.object({
  text: z.string(),
  token_ids: z.array(z.number()),
  sequences: z.array(z.object({ text: z.string(), token_ids: z.array(z.number()) })),
  prompt: z.string(),
  timings_ms: z.object({
    queue: z.number(),
    image: z.number(),
    pixels: z.number(),
    vision: z.number(),
    queries: z.number(),
    tokens: z.number(),
    total: z.number(),
  }),
  model: z.string(),
  picture: z.string(),
})

const problemSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) })

/** The body of the request; the deadline is kept on this side. */
export function encodeRequest(request: InferenceRequest): string {
  const { image, deadlineMs: _, question, history, ...rest } = request
  const asked = isCaption(request) ? {} : { question, history }
  return JSON.stringify({ ...rest, ...asked, image: image && Buffer.from(image).toString('base64') })
}

/** No question: a caption is wanted, whatever was said before. */
export function isCaption({ question = '', prompt }: InferenceRequest): boolean {
  return question.trim() === '' && prompt === undefined
}

/** @throws UpstreamError `engine_failed` */
export function decodeReply(text: string): InferenceResult {
  const parsed = replySchema.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data
  throw engineFailed('it answered with something that is no reply of Glimpse')
}

/** A refusal as an error of ours. `picture_forgotten` also where the other does not know pictures by name. */
export function decodeError(
  status: number,
  text: string,
  { image, picture }: InferenceRequest,
): GlimpseError {
  const { code, message } = problemOf(text) ?? { code: undefined, message: '' }
  if (code === 'picture_forgotten' || (CLIENT_ERRORS.has(status) && picture !== undefined && !image)) {
    return new RequestError(
      'picture_forgotten',
      'Expected a picture seen before but it is no longer remembered.',
    )
  }
  if (status === 401 || status === 403) {
    return new SetupError(
      'engine_refused',
      `Expected the engine elsewhere to let us in but it said ${status}. Give both the same GLIMPSE_API_TOKEN.`,
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
    const words = message || 'The engine elsewhere is busy. Try again in a moment.'
    if (code === undefined || isCode('busy', code)) return new BusyError(code ?? 'busy', words)
    return unknownCode(code, new BusyError('busy', words))
  }
  return engineFailed(`it said ${status}${code === undefined ? '' : ` (${code})`}`)
}

/** Another version of Glimpse may have codes that this one does not: the code that stands in is written to the log. */
function unknownCode<T extends GlimpseError>(theirs: string, error: T): T {
  log.warn('unknown_code', error, { theirs })
  return error
}

export function engineFailed(why: string, cause?: unknown): UpstreamError {
  return new UpstreamError('engine_failed', `Expected the engine elsewhere to answer but ${why}.`, { cause })
}

export function deadlineError(): BusyError {
  return new BusyError(
    'deadline',
    'Expected an answer in time but it took longer. Ask again, or allow more time.',
  )
}

/** Also where somebody wrapped the problem in words of their own, as SageMaker does, with its quotes escaped or not. */
function problemOf(text: string): { code: string; message: string } | undefined {
  const plain = problemSchema.safeParse(jsonOf(text)).data?.error
  if (plain) return { code: plain.code, message: plain.message.slice(0, MAX_WORDS) }
  const code = /\\?"code\\?":\s?\\?"([a-z_]+)\\?"/.exec(text)?.[1]
  const message = /\\?"message\\?":\s?\\?"([^"\\]*)/.exec(text)?.[1]
  return code === undefined ? undefined : { code, message: (message ?? '').slice(0, MAX_WORDS) }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
