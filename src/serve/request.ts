// An HTTP request -> a ParsedRequest for the engine. fields.ts reads the body; one schema checks its fields.
//
// POST /v1/caption and /v1/answer say which task they are. POST /invocations takes both: with a question or a history it is
// an answer, else a caption. In place of `image` an `upload` may be named (uploads.ts). No URL is fetched.

import { z } from 'zod'
import type { InferenceRequest } from '../engine/request.ts'
import { RequestError } from '../errors.ts'
import { generationSettings } from '../generation-settings.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { type Fields, noPicture, quote, readFields, SETTINGS } from './fields.ts'
import { pictureTooLarge, readUpload, type Uploads } from './uploads.ts'

/** Limit for a question, a prompt, and each question and answer of the history. */
const MAX_CHARACTERS = 2_000
/** The context of the language model has room for a few. */
const MAX_TURNS = 100
/** Most faults named in one response. */
const MAX_FAULTS = 5

const text = z
  .string()
  .max(MAX_CHARACTERS)
  // Tokenizers fail on half of a surrogate pair.
  .refine((value) => !/\p{Surrogate}/u.test(value), 'must be well-formed Unicode')

const requestFields = z.strictObject({
  image: z.instanceof(Uint8Array).optional(),
  upload: z.string().optional(),
  /** sha256 of a picture that was sent before. */
  picture: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be a sha256 in 64 hexadecimal digits')
    .optional(),
  question: text.optional(),
  history: z
    .array(z.strictObject({ question: text, answer: text }))
    .max(MAX_TURNS)
    .optional(),
  prompt: text.optional(),
  settings: generationSettings.partial().optional(),
  stream: z.boolean().optional(),
})

const KNOWN_FIELDS = `image, upload, picture, question, history (each with question and answer), prompt, stream, settings (${SETTINGS.join(', ')})`

export type Task = 'caption' | 'answer'

export interface ParsedRequest {
  request: InferenceRequest
  task: Task
  /** Server-sent events instead of one JSON body. */
  stream: boolean
  /** Call it once the request is answered: it removes the upload, which is used once. */
  used?: () => Promise<void>
}

/**
 * Reads and checks the whole request.
 * @throws RequestError with words for the client; BusyError `cancelled` when the client disconnects
 */
export async function readRequest(
  request: Request,
  route: Task | 'any',
  uploads?: Uploads,
): Promise<ParsedRequest> {
  const fields = await readFields(request, route !== 'answer')
  const task = route === 'any' ? taskOf(fields) : route
  if (task === 'caption' && ('question' in fields || 'history' in fields)) {
    throw new RequestError('bad_field', 'POST /v1/caption takes no question. Send it to POST /v1/answer.')
  }
  const given = ['image', 'upload', 'picture'].filter((name) => fields[name] !== undefined)
  if (given.length === 0) throw noPicture()
  if (given.length > 1) {
    throw new RequestError(
      'bad_field',
      `Expected one picture but got ${given.join(' and ')}. Send one of them.`,
    )
  }
  const checked = requestFields.safeParse(fields)
  if (!checked.success) throw badFields(checked.error)

  const { stream, upload, ...inference } = checked.data
  if (task === 'answer') checkQuestion(inference)
  const uploaded = upload === undefined ? undefined : await readUpload(upload, uploads)
  const image = uploaded?.image ?? inference.image
  if (inference.picture === undefined && !image?.length) throw noPicture()
  if (image && image.length > MAX_PICTURE_BYTES) throw pictureTooLarge()
  return {
    request: { ...inference, image },
    task,
    stream: stream ?? request.headers.get('accept')?.includes('text/event-stream') ?? false,
    used: uploaded?.remove,
  }
}

/** An empty question counts as none: forms send the fields that nothing was typed into. */
function taskOf(fields: Fields): Task {
  if (typeof fields.question === 'string' && fields.question.trim() === '') delete fields.question
  return 'question' in fields || 'history' in fields ? 'answer' : 'caption'
}

function checkQuestion({ question = '', prompt, history }: InferenceRequest): void {
  const hasQuestion = question.trim() !== ''
  if (!hasQuestion && prompt === undefined) {
    const message =
      'Expected a question in the field question but got none. For a caption use POST /v1/caption.'
    throw new RequestError('no_question', message)
  }
  if (prompt !== undefined && (hasQuestion || history !== undefined)) {
    const message = 'Expected prompt, or question and history, but got both. Send one or the other.'
    throw new RequestError('bad_field', message)
  }
}

function badFields({ issues }: z.ZodError): RequestError {
  const faults = issues.slice(0, MAX_FAULTS).map((issue) => {
    if (issue.code !== 'unrecognized_keys') return `${issue.path.join('.')}: ${issue.message}`
    const names = issue.keys.slice(0, MAX_FAULTS).map(quote).join(', ')
    return `Unknown field ${names}. Known fields: ${KNOWN_FIELDS}`
  })
  return new RequestError('bad_field', `${faults.join('; ')}.`)
}
