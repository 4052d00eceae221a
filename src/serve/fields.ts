// The body of a request -> its fields by name, not yet checked: `image` as bytes, `settings` as an object.
//
//   multipart/form-data   image (a file), the task's fields as text or JSON, stream, and each setting by its name
//   application/json      image (base64 or data URL), the task's fields, stream, settings: {num_beams, ...}
//   image/*               the picture itself, the other fields in the query string; not for answers
//
// Bytes are counted while they arrive: a picture has its own limit (image/format.ts), all other text another (form.ts).

import { z } from 'zod'
import { TASKS } from '../engine/tasks.ts'
import { BusyError, RequestError } from '../errors.ts'
import { generationSettings } from '../generation-settings.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { withTimeout } from '../time.ts'
import { checkTextSize, MAX_TEXT_BYTES, readForm } from './form.ts'
import { pictureTooLarge } from './uploads.ts'

export interface Fields {
  [name: string]: unknown
  image?: Uint8Array
}

const SETTINGS = Object.keys(generationSettings.shape)

/** Base64 has four characters for three bytes (RFC 4648, section 4). */
const BASE64_OVERHEAD = 4 / 3
/** Minimum upload rate after the first 10 s. A slower client is refused (408), because it would hold an admission slot. */
const SLOW_START_MS = 10_000
const SLOWEST_BYTES_PER_MS = 16

/**
 * @param takesPicture whether the body may be the picture itself
 * @throws RequestError, for the caller to mend; BusyError `cancelled` when the client disconnects
 */
export async function readFields(request: Request, takesPicture: boolean): Promise<Fields> {
  const type = request.headers.get('content-type') ?? ''
  const query = [...new URL(request.url).searchParams]
  if (takesPicture && /^(image\/|application\/octet-stream)/i.test(type)) {
    return { ...fromPairs(query), image: new Uint8Array(await readBytes(request, MAX_PICTURE_BYTES)) }
  }
  if (query.length > 0)
    throw new RequestError('bad_field', 'Expected all fields in the body but got some in the URL.')
  if (/^multipart\/form-data\b/i.test(type)) {
    return fromPairs(await readForm(bytesOf(request, MAX_PICTURE_BYTES + MAX_TEXT_BYTES), type))
  }
  if (/^application\/json\b/i.test(type)) {
    return fromJson(await readBytes(request, MAX_PICTURE_BYTES * BASE64_OVERHEAD + MAX_TEXT_BYTES))
  }
  throw new RequestError(
    'wrong_type',
    'Expected the content type multipart/form-data (with a file in the field image) or application/json ' +
      `${takesPicture ? 'or image/* ' : ''}but got another or none.`,
  )
}

export async function readBytes(request: Request, limitBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytesOf(request, limitBytes)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Counts the bytes that arrive, because Content-Length may be absent or wrong. */
async function* bytesOf(request: Request, limitBytes: number): AsyncGenerator<Uint8Array> {
  if (Number(request.headers.get('content-length')) > limitBytes) throw pictureTooLarge()
  let size = 0
  const reader = request.body?.getReader()
  const startedAt = performance.now()
  while (reader) {
    const read = reader.read().catch((cause: unknown) => {
      throw new BusyError('cancelled', 'The client disconnected before its request was complete.', { cause })
    })
    const leftMs = SLOW_START_MS + size / SLOWEST_BYTES_PER_MS - (performance.now() - startedAt)
    const { done, value } = await withTimeout(read, leftMs, tooSlow)
    if (done) break
    size += value.length
    // The reader is not cancelled: that would close the connection before the client reads the refusal.
    if (size > limitBytes) throw pictureTooLarge()
    yield value
  }
}

/** All values of a form or a query are text: settings and `stream` become numbers and booleans, a history an array. */
function fromPairs(pairs: [string, string | Uint8Array][]): Fields {
  // Without a prototype, so that `__proto__` is an unknown name like any other.
  const fields: Fields = Object.create(null)
  const settings: Record<string, unknown> = {}
  for (const [name, value] of pairs) {
    const target = SETTINGS.includes(name) ? settings : fields
    if (Object.hasOwn(target, name))
      throw new RequestError('bad_field', `Expected ${quote(name)} once but got it twice.`)
    if (name === 'image' && typeof value === 'string') {
      const message = 'Expected a file in the field image but got text. With curl: -F image=@picture.jpg'
      throw new RequestError('no_picture', message)
    }
    const isJson = typeof value === 'string' && !isText(name)
    target[name] = isJson ? parsedOr(value) : value
  }
  if (Object.keys(settings).length === 0) return fields
  if (fields.settings !== undefined) {
    const message = `Expected settings, or each setting by its name, but got settings and ${Object.keys(settings).join(', ')}.`
    throw new RequestError('bad_field', message)
  }
  return { ...fields, settings }
}

/**
 * Parses all but the picture: JSON.parse takes seconds for megabytes of brackets, and this thread serves every request.
 * The picture is the string after the first key `image`. Base64 has no quotes, so the string ends at the next one.
 */
function fromJson(body: Buffer): Fields {
  const text = body.toString('latin1')
  const key = /"image"\s*:\s*"/.exec(text)
  const start = key ? key.index + key[0].length : text.length
  const quoteAt = text.indexOf('"', start)
  const end = quoteAt < 0 ? text.length : quoteAt
  checkTextSize(text.length - (end - start))
  let parsed: unknown
  let image: unknown
  try {
    const rest = Buffer.concat([body.subarray(0, start), body.subarray(end)])
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(rest))
    image = text.slice(start, end)
    // Some writers escape `/`, and line breaks always are.
    if (text.includes('\\')) image = JSON.parse(`"${image}"`)
  } catch {
    // The parser's own message quotes the body, which may hold a question.
    throw new RequestError('bad_json', 'Expected the body to be JSON in UTF-8 but could not read it.')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new RequestError('bad_json', 'Expected a JSON object with the field image.')
  }
  const fields: Record<string, unknown> = { ...parsed }
  if (fields.image === undefined) return fields as Fields
  return { ...fields, image: fromBase64(fields.image === '' ? image : fields.image) }
}

/** Plain base64 or a data URL (RFC 2397). Line breaks are allowed, because the `base64` command makes them. */
export function fromBase64(value: unknown): Uint8Array {
  if (value === '') throw noPicture()
  const base64 =
    typeof value === 'string' ? value.replace(/^data:[^,]{0,200};base64,/i, '').replace(/\s+/g, '') : ''
  if (base64.length % 4 === 1 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    const message = 'Expected image to be base64, or a data URL with base64, but got something else.'
    throw new RequestError('bad_base64', message)
  }
  return new Uint8Array(Buffer.from(base64, 'base64'))
}

/**
 * Whether a field is text as it is. Others of a form or a query are JSON, or text where that cannot be parsed. A field that
 * several tasks have is of one type in all of them.
 */
function isText(name: string): boolean {
  if (['image', 'upload', 'picture', 'task', 'id', 'date', 'sort'].includes(name)) return true
  return Object.values(TASKS).some((task) => {
    let field: unknown = (task.fields.shape as Record<string, unknown>)[name]
    while (field instanceof z.ZodOptional) field = field.unwrap()
    return field instanceof z.ZodString || field instanceof z.ZodEnum
  })
}

/** The text itself when it is not JSON, for the schema to check: `never` is a value of a setting. */
function parsedOr(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

/** A name from the client, short and on one line. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name)
}

export function noPicture(): RequestError {
  return new RequestError('no_picture', 'Expected a picture in the field image but got none.')
}

function tooSlow(): RequestError {
  const message = `Expected the body at ${SLOWEST_BYTES_PER_MS} kB a second or more but it came slower. Send a smaller picture.`
  return new RequestError('too_slow', message)
}
