// A request becomes an Ask: bytes are counted while they come, then parsed, then checked once against a schema.
//
//   multipart/form-data   image (a file), question, history (JSON), prompt, stream, and each setting by its name
//   application/json      image (base64 or data URL), question, history, prompt, stream, settings: {num_beams, ...}
//   image/*               the picture itself, the other fields in the query string; for a caption only
//
// In place of image a form and JSON may name an `upload` (uploads.ts).
//
// Where either is taken (POST /invocations), a question or a history makes it an answer, else it is a caption.
//
// Nobody's URL is fetched here: pictures come as bytes.

import { z } from 'zod'
import type { InferenceRequest } from '../engine/request.ts'
import { BusyError, RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { generationSettings } from '../run/settings.ts'
import { withTimeout } from '../time.ts'
import { checkJson, MAX_TEXT_BYTES } from './body-limits.ts'
import { readForm } from './form.ts'
import { readUpload, type Uploads } from './uploads.ts'

const MIB = 1024 * 1024
/** Four characters carry three bytes (RFC 4648, section 4). */
const BASE64_OVERHEAD = 4 / 3
/** Of a question, a prompt, and each question and answer before. */
const MAX_CHARACTERS = 2_000
/** The language model reads the last few at best. */
const MAX_TURNS = 100
/** Who sends a body slower than this, after the first seconds, is not on a bad line but holds a place on purpose. */
const SLOW_START_MS = 10_000
const SLOWEST_BYTES_PER_MS = 16
/** So many faults are named in one answer. */
const MAX_FAULTS = 5

/** Half of a surrogate pair is no text, and tokenizers fail on it. */
const text = z
  .string()
  .max(MAX_CHARACTERS)
  .refine((value) => !/\p{Surrogate}/u.test(value), 'must be well-formed Unicode')

const captionFields = z.strictObject({
  image: z.instanceof(Uint8Array, { error: 'Expected a picture but got none' }).optional(),
  upload: z.string().optional(),
  prompt: text.optional(),
  settings: generationSettings.partial().optional(),
  stream: z.boolean().optional(),
})

const answerFields = captionFields.extend({
  question: text.optional(),
  history: z
    .array(z.strictObject({ question: text, answer: text }))
    .max(MAX_TURNS)
    .optional(),
})

const SETTINGS = Object.keys(generationSettings.shape)

export type Task = 'caption' | 'answer'

export interface ParsedRequest {
  request: InferenceRequest
  task: Task
  /** Server-sent events instead of one JSON body. */
  stream: boolean
  /** To be called once the picture was answered about: an upload is used once. */
  used?: () => Promise<void>
}

/**
 * Reads and checks the whole request.
 * @throws RequestError with words for whoever asks; BusyError `cancelled` when the client leaves halfway.
 */
export async function readRequest(
  request: Request,
  either: Task | 'either',
  uploads?: Uploads,
): Promise<ParsedRequest> {
  const { fields, flat } = await readFields(request, either)
  const want = either === 'either' ? taskOf(fields) : either
  if (want === 'caption' && ('question' in fields || 'history' in fields)) {
    throw new RequestError('bad_field', 'POST /v1/caption takes no question. Send it to POST /v1/answer.')
  }
  if (fields.image === undefined && fields.upload === undefined) throw noPicture()
  if (fields.image !== undefined && fields.upload !== undefined) {
    throw new RequestError('bad_field', 'upload takes the place of image. Send one or the other.')
  }
  const schema = want === 'caption' ? captionFields : answerFields
  const known = Object.keys(schema.shape).flatMap((name) => (flat && name === 'settings' ? SETTINGS : [name]))
  const checked = schema.safeParse(fields)
  if (!checked.success) throw faulty(checked.error, known)

  const { stream, upload, ...ask }: z.infer<typeof answerFields> = checked.data
  if (want === 'answer') checkQuestion(ask)
  const sent = upload === undefined ? undefined : await readUpload(upload, uploads)
  const image = sent?.image ?? ask.image
  if (!image || image.length === 0) throw noPicture()
  if (image.length > MAX_PICTURE_BYTES) throw tooLarge()
  return {
    request: { ...ask, image },
    task: want,
    stream: stream ?? request.headers.get('accept')?.includes('text/event-stream') ?? false,
    used: sent?.forget,
  }
}

/** An empty question is none, as a form sends it that nobody filled in. */
function taskOf(fields: Record<string, unknown>): Task {
  if (typeof fields['question'] === 'string' && fields['question'].trim() === '') delete fields['question']
  return 'question' in fields || 'history' in fields ? 'answer' : 'caption'
}

function checkQuestion(request: InferenceRequest): void {
  const asked = (request.question ?? '').trim() !== ''
  if (!asked && request.prompt === undefined) {
    throw new RequestError(
      'no_question',
      'Expected a question in the field question but got none. For a caption use POST /v1/caption.',
    )
  }
  if (request.prompt !== undefined && (asked || request.history !== undefined)) {
    throw new RequestError(
      'bad_field',
      'prompt takes the place of question and history. Send one or the other.',
    )
  }
}

/** `flat`: the settings came beside the other fields, not inside `settings`. */
interface Fields {
  fields: Record<string, unknown>
  flat: boolean
}

async function readFields(request: Request, want: Task | 'either'): Promise<Fields> {
  const type = request.headers.get('content-type') ?? ''
  const query = [...new URL(request.url).searchParams]
  if (want !== 'answer' && /^(image\/|application\/octet-stream)/i.test(type)) {
    const image = new Uint8Array(await readBytes(request, MAX_PICTURE_BYTES))
    return { fields: { ...fromPairs(query), image }, flat: true }
  }
  if (query.length > 0)
    throw new RequestError('bad_field', 'Expected all fields in the body, none in the address.')
  if (/^multipart\/form-data\b/i.test(type)) {
    const body = bytesOf(request, MAX_PICTURE_BYTES + MAX_TEXT_BYTES)
    return { fields: fromPairs(await readForm(body, type)), flat: true }
  }
  if (/^application\/json\b/i.test(type)) {
    const body = await readBytes(request, MAX_PICTURE_BYTES * BASE64_OVERHEAD + MAX_TEXT_BYTES)
    return { fields: fromJson(body), flat: false }
  }
  throw new RequestError(
    'wrong_type',
    'Expected the content type multipart/form-data (with a file in the field image) or application/json ' +
      `${want === 'answer' ? '' : 'or image/* '}but got another or none.`,
  )
}

async function readBytes(request: Request, limitBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytesOf(request, limitBytes)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Counts what really comes: a content length may be absent, or a lie. */
async function* bytesOf(request: Request, limitBytes: number): AsyncGenerator<Uint8Array> {
  if (Number(request.headers.get('content-length')) > limitBytes) throw tooLarge()
  let size = 0
  const reader = request.body?.getReader()
  const startedAt = performance.now()
  while (reader) {
    const read = reader.read().catch((cause: unknown) => {
      throw new BusyError('cancelled', 'The client left before its request was complete.', { cause })
    })
    const spentMs = performance.now() - startedAt
    const { done, value } = await withTimeout(
      read,
      SLOW_START_MS + size / SLOWEST_BYTES_PER_MS - spentMs,
      tooSlow,
    )
    if (done) break
    size += value.length
    // Not cancelled: that would close the connection before the refusal is read. The server drains it.
    if (size > limitBytes) throw tooLarge()
    yield value
  }
}

function tooSlow(): RequestError {
  const message = `Expected the body at ${SLOWEST_BYTES_PER_MS} kB a second or more but it came slower. Send a smaller picture.`
  return new RequestError('too_slow', message)
}

/** Fields that are all text on the way: settings and `stream` become numbers and booleans, `history` an array. */
function fromPairs(pairs: [string, unknown][]): Record<string, unknown> {
  // Without a prototype: `__proto__` is a name like any other, and not known.
  const fields: Record<string, unknown> = Object.create(null)
  const settings: Record<string, unknown> = {}
  for (const [name, value] of pairs) {
    const into = SETTINGS.includes(name) ? settings : fields
    if (Object.hasOwn(into, name))
      throw new RequestError('bad_field', `Expected ${quote(name)} once but got it twice.`)
    if (name === 'image' && typeof value === 'string') {
      throw new RequestError(
        'no_picture',
        'Expected a file in the field image but got text. With curl: -F image=@picture.jpg',
      )
    }
    const isJson = into === settings || name === 'history' || name === 'stream'
    into[name] = isJson && typeof value === 'string' ? parsedOr(value) : value
  }
  return Object.keys(settings).length > 0 ? { ...fields, settings } : fields
}

function fromJson(body: Buffer): Record<string, unknown> {
  checkJson(body)
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    // The parser's own message quotes the body, which may hold a question.
    throw new RequestError('bad_json', 'Expected the body to be JSON in UTF-8 but could not read it.')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new RequestError('bad_json', 'Expected a JSON object with the field image.')
  }
  const fields = { ...parsed } as Record<string, unknown>
  if (fields.image !== undefined) fields.image = fromBase64(fields.image)
  return fields
}

/** Plain base64 or a data URL (RFC 2397); line breaks are allowed, as the `base64` command makes them. */
function fromBase64(value: unknown): Uint8Array {
  const letters =
    typeof value === 'string' ? value.replace(/^data:[^,]{0,200};base64,/i, '').replace(/\s+/g, '') : ''
  if (letters === '' && typeof value === 'string') throw noPicture()
  if (letters.length % 4 === 1 || !/^[A-Za-z0-9+/]+={0,2}$/.test(letters)) {
    throw new RequestError(
      'bad_base64',
      'Expected image to be base64, or a data URL with base64, but got something else.',
    )
  }
  return new Uint8Array(Buffer.from(letters, 'base64'))
}

/** The text itself when it is no JSON, for the schema to judge: `never` is a setting's value. */
function parsedOr(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

function faulty(error: z.ZodError, known: readonly string[]): RequestError {
  if (error.issues.some((issue) => issue.path[0] === 'image')) return noPicture()
  const faults = error.issues.slice(0, MAX_FAULTS).map((issue) => {
    if (issue.code !== 'unrecognized_keys') return `${issue.path.join('.')}: ${issue.message}`
    const of =
      issue.path[0] === 'settings' ? SETTINGS : issue.path.length > 0 ? ['question', 'answer'] : known
    return `Unknown field ${issue.keys.slice(0, MAX_FAULTS).map(quote).join(', ')}. Known here: ${of.join(', ')}`
  })
  return new RequestError('bad_field', `${faults.join('; ')}.`)
}

/** A stranger's word, short and on one line. */
function quote(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name)
}

function noPicture(): RequestError {
  return new RequestError('no_picture', 'Expected a picture in the field image but got none.')
}

function tooLarge(): RequestError {
  const limit = MAX_PICTURE_BYTES / MIB
  return new RequestError(
    'picture_too_large',
    `Expected a picture of at most ${limit} MiB but got more. Send a smaller one.`,
  )
}
