// What the routes for vectors share: a JSON body of texts and pictures -> inputs, and many answers of the engine -> one result.

import { z } from 'zod'
import type { Engine } from '../../engine/engine.ts'
import type { BaseResult } from '../../engine/request.ts'
import { textField } from '../../engine/tasks/generate.ts'
import type { TaskName } from '../../engine/tasks.ts'
import { stopwatch } from '../../engine/timings.ts'
import { startDeadline } from '../../remote/deadline.ts'
import { stopWith } from '../../stop.ts'
import { readJsonAs } from '../json-body.ts'
import type { ParsedRequest } from '../request.ts'
import { GLIMPSE_FORM } from '../response-form.ts'

/** Inputs of one request: as many as a ranking by LAVIS reads. */
export const MAX_INPUTS = 128
/** Pictures of the largest size that one body has room for. Larger sets take several requests. */
const PICTURES = 3
/** Requests of one body that are at the engine at the same time. */
const AT_ONCE = 8

export type Input = { text: string } | { image: Uint8Array }
export type ReadInput = z.output<typeof inputSchema>

const imageUrl = z.union([z.string(), z.object({ url: z.string() })])
/** A text; an object of Jina, Cohere or Voyage; or a part of a message. */
export const inputSchema = z
  .union([
    textField,
    z.looseObject({
      text: textField.optional(),
      image: z.string().optional(),
      image_base64: z.string().optional(),
      image_url: imageUrl.optional(),
    }),
  ])
  .transform((input, context) => {
    if (typeof input === 'string') return { text: input }
    const { text, image, image_base64, image_url } = input
    const url = image ?? image_base64 ?? (typeof image_url === 'string' ? image_url : image_url?.url)
    if ((text === undefined) === (url === undefined)) {
      context.addIssue('must have either text or image')
      return z.NEVER
    }
    return url === undefined ? { text: text! } : { url }
  })
export const inputsSchema = z.array(inputSchema).min(1).max(MAX_INPUTS)

interface Body<T> {
  fields: T
  /** The input with the bytes of its picture. @throws RequestError about the picture */
  inputOf(input: ReadInput): Input
  sha256: string
}

/** @throws RequestError with words for the client; BusyError `cancelled` when the client disconnects */
export async function readBody<T extends z.ZodType>(request: Request, schema: T): Promise<Body<z.output<T>>> {
  const { fields, sha256, pictureAt } = await readJsonAs(request, schema, PICTURES)
  const inputOf = (input: ReadInput) =>
    'text' in input ? { text: input.text! } : { image: pictureAt(input.url) }
  return { fields, sha256, inputOf }
}

/** What a route answers: its own body, and the model that made it. */
interface Answer {
  model: string
  body: object
}

/** All of it ends with the request's deadline. `sha256`, of the body, tells requests with one Idempotency-Key apart. */
export function parsedOf(
  task: TaskName,
  sha256: string,
  answer: (engine: Engine, signal: AbortSignal) => Promise<Answer>,
): ParsedRequest {
  const request = { task, sha256 } as ParsedRequest['request']
  return {
    request,
    stream: false,
    form: { ...GLIMPSE_FORM, json: (result) => (result as BaseResult & { body: object }).body },
    async run(engine, { signal, deadlineMs = Number.POSITIVE_INFINITY }) {
      const clock = stopwatch()
      const deadline = startDeadline(deadlineMs, signal)
      try {
        const { model, body } = await answer(engine, deadline.signal)
        return { text: '', timings_ms: clock.read(), model, picture: '', body } as BaseResult
      } catch (error) {
        deadline.throwIfEnded()
        throw error
      } finally {
        deadline.end()
      }
    },
  }
}

/** The results of `work` in the order of `items`, a few at a time. The first error ends all. */
export async function inOrder<T, R>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const failed = new AbortController()
  const stop = stopWith(signal, failed.signal)
  const results: R[] = []
  let next = 0
  const runner = async () => {
    while (next < items.length && !failed.signal.aborted) {
      const i = next++
      results[i] = await work(items[i]!, stop.signal)
    }
  }
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, runner))
  } finally {
    failed.abort()
    stop.end()
  }
  return results
}
