// A JSON body with pictures in base64 -> its fields, in which each picture is a number, and the pictures' bytes by that number.
//
// Base64 is taken out before the rest is parsed: JSON.parse takes seconds for megabytes of brackets, and this thread serves
// every request. No address is fetched.

import type { z } from 'zod'
import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { readBytes } from './bytes.ts'
import { checkTextSize, MAX_TEXT_BYTES } from './form.ts'
import { pictureTooLarge } from './uploads.ts'

/** What base64 follows: a data URL's head, or the name of a field for a picture. */
const BEFORE = /;base64,|"(?:image|image_base64)"\s*:\s*"(?!\w{1,10}:)/g
/** Shorter base64 is parsed with the rest: no picture is that small, and a text may have some. */
const LEAST = 100
/** In a JSON string: some writers escape `/` and `+`, and line breaks always are. */
const BASE64 = /^[A-Za-z0-9+/=\\ ]+$/
/** Base64 has four characters for three bytes (RFC 4648, section 4). */
const BASE64_OVERHEAD = 4 / 3
/** Most faults named in one response. */
const MAX_FAULTS = 5

/** A body whose pictures were taken out. */
export interface JsonBody {
  json: unknown
  sha256: string
  /** Bytes of a picture: a data URL or base64. @throws RequestError `bad_base64`, `picture_too_large` */
  pictureAt(url: string): Uint8Array
}

/**
 * @param pictures of the largest size that the body has room for
 * @throws RequestError `bad_json`, `too_many_words`, `picture_too_large`; BusyError `cancelled`
 */
export async function readJson(request: Request, pictures: number): Promise<JsonBody> {
  const bytes = await readBytes(request, pictures * MAX_PICTURE_BYTES * BASE64_OVERHEAD + MAX_TEXT_BYTES)
  const { json, found } = parseWithPictures(bytes)
  return { json, sha256: sha256Hex(bytes), pictureAt: (url) => bytesAt(url, found) }
}

/**
 * As readJson, for routes of other APIs, where a picture may be an address: `pictureAt` throws RequestError
 * `picture_forbidden` then.
 * @throws also RequestError `wrong_type`, `bad_field`
 */
export async function readJsonAs<T extends z.ZodType>(
  request: Request,
  schema: T,
  pictures: number,
): Promise<JsonBody & { fields: z.output<T> }> {
  if (!isJson(request)) {
    const message = 'Expected the content type application/json but got another or none.'
    throw new RequestError('wrong_type', message)
  }
  const body = await readJson(request, pictures)
  const { success, data, error } = schema.safeParse(body.json)
  if (!success) throw badBody(error)
  return { ...body, fields: data, pictureAt: (url) => body.pictureAt(withoutAddress(url)) }
}

export function isJson({ headers }: Request): boolean {
  return /^application\/json\b/i.test(headers.get('content-type') ?? '')
}

/** An error that names each fault of a body. */
export function badBody({ issues }: z.ZodError): RequestError {
  const faults = issues
    .slice(0, MAX_FAULTS)
    .map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
  return new RequestError('bad_field', `${faults.join('; ')}.`)
}

function parseWithPictures(body: Buffer): { json: unknown; found: string[] } {
  const text = body.toString('latin1')
  const found: string[] = []
  let rest = ''
  let done = 0
  for (const { index, 0: before } of text.matchAll(BEFORE)) {
    const start = index + before.length
    // Base64 has no quotes. A pattern for all of it would need more stack than there is.
    const quoteAt = text.indexOf('"', start)
    const end = quoteAt < 0 ? text.length : quoteAt
    if (start < done || end - start < LEAST || !BASE64.test(text.slice(start, start + LEAST))) continue
    rest += `${text.slice(done, start)}#${found.length}`
    found.push(text.slice(start, end))
    done = end
  }
  rest += text.slice(done)
  checkTextSize(rest.length)
  try {
    const json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(rest, 'latin1')))
    const unescaped = found.map((base64) =>
      base64.includes('\\') ? (JSON.parse(`"${base64}"`) as string) : base64,
    )
    return { json, found: unescaped }
  } catch {
    // The parser's own message quotes the body, which may hold a question.
    throw new RequestError('bad_json', 'Expected the body to be JSON in UTF-8 but could not read it.')
  }
}

function withoutAddress(url: string): string {
  if (!/^https?:/i.test(url)) return url
  const message =
    'Expected a picture as a data URL but got an address. Glimpse fetches no addresses: send "data:image/png;base64,...".'
  throw new RequestError('picture_forbidden', message)
}

function bytesAt(url: string, found: readonly string[]): Uint8Array {
  const bytes = fromBase64(url.replace(/(?<=^|,)#(\d+)$/, (_, index) => found[Number(index)] ?? ''))
  if (bytes.length > MAX_PICTURE_BYTES) throw pictureTooLarge()
  return bytes
}

/** Plain base64 or a data URL (RFC 2397). Line breaks are allowed, because the `base64` command makes them. */
function fromBase64(value: string): Uint8Array {
  const base64 = value.replace(/^data:[^,]{0,200};base64,/i, '').replace(/\s+/g, '')
  if (base64.length % 4 === 1 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    const message = 'Expected image to be base64, or a data URL with base64, but got something else.'
    throw new RequestError('bad_base64', message)
  }
  return new Uint8Array(Buffer.from(base64, 'base64'))
}
