// An HTTP request -> a ParsedRequest for the engine. fields.ts reads the body; the task's schema checks its fields.
//
// POST /v1/<task> says which task it is. POST /invocations takes all: the field `task` names it; without one, a request
// with a question, a history or a prompt is an answer, else a caption. In place of `image` an `upload` may be named (uploads.ts).
// Features may be of a text without a picture. No URL is fetched.

import { z } from 'zod'
import type { Engine } from '../engine/engine.ts'
import type { BaseRequest, BaseResult } from '../engine/request.ts'
import { TASKS, type TaskName, taskNamed, taskOf } from '../engine/tasks.ts'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { type Fields, noPicture, pictureFields, quote, readFields } from './fields.ts'
import type { ResponseForm } from './response-form.ts'
import { pictureTooLarge, readUpload, type Uploads } from './uploads.ts'

/** Most faults named in one response. */
const MAX_FAULTS = 5

/** The fields of every task. */
const commonFields = z.strictObject({
  ...pictureFields,
  picture: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be a sha256 in 64 hexadecimal digits')
    .optional()
    .meta({ description: 'in place of image: the sha256 of a picture that was sent before' }),
  stream: z.boolean().optional().meta({ description: 'server-sent events instead of one JSON body' }),
})

export interface ParsedRequest {
  request: BaseRequest & { task: TaskName }
  /** Server-sent events instead of one JSON body. */
  stream: boolean
  /** How its response is written. Default: Glimpse's own form. */
  form?: ResponseForm
  /** Call it once the request is answered: it removes the upload, which is used once. */
  used?: () => Promise<void>
  /** In place of one answer of the engine, for routes that do more. */
  run?: RunWithin
}

export type RunWithin = (
  engine: Engine,
  within: { signal: AbortSignal; deadlineMs?: number },
) => Promise<BaseResult>

/**
 * Reads and checks the whole request.
 * @throws RequestError with words for the client; BusyError `cancelled` when the client disconnects
 */
export async function readRequest(
  request: Request,
  route: TaskName | 'any',
  uploads?: Uploads,
): Promise<ParsedRequest> {
  const fields = await readFields(request, route === 'any' || needsPictureOnly(route))
  const name = takeTask(fields, route)
  const task = taskNamed(name)
  const schema = schemaOf(name)
  checkNames(fields, name, schema)
  const given = ['image', 'upload', 'picture'].filter((field) => fields[field] !== undefined)
  if (given.length === 0 && !task.isPictureOptional) throw noPicture()
  if (given.length > 1) {
    throw new RequestError(
      'bad_field',
      `Expected one picture but got ${given.join(' and ')}. Send one of them.`,
    )
  }
  const checked = schema.safeParse(fields)
  if (!checked.success) throw badFields(checked.error, schema)

  const { stream, upload, ...inference } = checked.data as z.output<typeof commonFields>
  task.checkFields?.(inference)
  const uploaded = upload === undefined ? undefined : await readUpload(upload, uploads)
  const image = uploaded?.image ?? inference.image
  if (given.length > 0 && inference.picture === undefined && !image?.length) throw noPicture()
  if (image && image.length > MAX_PICTURE_BYTES) throw pictureTooLarge()
  return {
    request: { ...inference, image, task: name },
    stream: stream ?? request.headers.get('accept')?.includes('text/event-stream') ?? false,
    used: uploaded?.remove,
  }
}

const schemas = new Map<TaskName, z.ZodObject>()

/** The fields that a request of the task may have, besides `task`. zod compiles a schema at its first use, which takes half a millisecond. */
export function schemaOf(name: TaskName): z.ZodObject {
  const schema = schemas.get(name) ?? commonFields.extend(taskNamed(name).fields.shape)
  schemas.set(name, schema)
  return schema
}

/** Whether a picture without other fields is a request of the task, so that the body may be the picture itself. */
export function needsPictureOnly(name: TaskName): boolean {
  try {
    taskNamed(name).checkFields?.({})
    return taskNamed(name).fields.safeParse({}).success
  } catch {
    return false
  }
}

/** Removes the field `task`, which must be that of the route, and returns the task. */
function takeTask(fields: Fields, route: TaskName | 'any'): TaskName {
  const { task, question, prompt } = fields
  delete fields.task
  const named = task === undefined ? undefined : taskOf({ task })
  if (route !== 'any') {
    if (named === undefined || named === route) return route
    const message = `POST /v1/${route} takes no requests for the task ${named}. Send it to POST /v1/${named}.`
    throw new RequestError('bad_field', message)
  }
  if (named !== undefined) return named
  // An empty question counts as none: forms send the fields that nothing was typed into.
  if (typeof question === 'string' && question.trim() === '') delete fields.question
  return 'question' in fields || 'history' in fields ? 'answer' : taskOf({ prompt })
}

/** @throws RequestError `bad_field` with the fields that the task has, or the task that has the field */
function checkNames(fields: Fields, name: TaskName, schema: z.ZodObject): void {
  const unknown = Object.keys(fields).filter((field) => !Object.hasOwn(schema.shape, field))
  if (unknown.length === 0) return
  const other = Object.entries(TASKS).find(([, task]) =>
    unknown.every((field) => Object.hasOwn(task.fields.shape, field)),
  )
  if (other) {
    const message = `POST /v1/${name} takes no ${unknown.slice(0, MAX_FAULTS).join(' and no ')}. Send it to POST /v1/${other[0]}.`
    throw new RequestError('bad_field', message)
  }
  const names = unknown.slice(0, MAX_FAULTS).map(quote).join(', ')
  throw new RequestError('bad_field', `Unknown field ${names}. Known fields: ${namesIn(schema)}.`)
}

/** `image, question, settings (num_beams, ...)` */
function namesIn({ shape }: z.ZodObject): string {
  const described = Object.entries(shape).map(([name, field]) => {
    let inner: unknown = field
    while (inner instanceof z.ZodOptional) inner = inner.unwrap()
    if (inner instanceof z.ZodArray) inner = inner.element
    return inner instanceof z.ZodObject ? `${name} (${namesIn(inner)})` : name
  })
  return described.join(', ')
}

/** An error that names each fault. */
export function badFields({ issues }: z.ZodError, schema: z.ZodObject): RequestError {
  const faults = issues.slice(0, MAX_FAULTS).map((issue) => {
    if (issue.code !== 'unrecognized_keys') return `${issue.path.join('.')}: ${issue.message}`
    const names = issue.keys.slice(0, MAX_FAULTS).map(quote).join(', ')
    return `Unknown field ${names} in ${issue.path.join('.')}. Known fields: ${namesIn(schema)}`
  })
  return new RequestError('bad_field', `${faults.join('; ')}.`)
}
