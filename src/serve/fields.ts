// The body of a request -> its fields by name, not yet checked: `image` as bytes, `settings` as an object.
//
//   multipart/form-data   image (a file), the task's fields as text or JSON, stream, and each setting by its name
//   application/json      image (base64 or data URL), the task's fields, stream, settings: {num_beams, ...}
//   image/*               the picture itself, the other fields in the query string; not for answers
//
// A picture has its own limit (image/format.ts), all other text another (form.ts).

import { z } from 'zod'
import { TASKS } from '../engine/tasks.ts'
import { RequestError } from '../errors.ts'
import { generationSettings } from '../generation-settings.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { bytesOf, readBytes } from './bytes.ts'
import { MAX_TEXT_BYTES, readForm } from './form.ts'
import { isJson, readJson } from './json-body.ts'

export interface Fields {
  [name: string]: unknown
  image?: Uint8Array
}

/** A picture in a request: its bytes once the body is read, or the id of an upload. */
export const pictureFields = {
  image: z.instanceof(Uint8Array).optional().meta({
    description: 'a JPEG, PNG, WebP, GIF, AVIF or TIFF file: in JSON as base64 or as a data URL',
    type: 'string',
    contentEncoding: 'base64',
  }),
  upload: z.string().optional().meta({ description: 'in place of image: the id of an upload' }),
}

const SETTINGS = Object.keys(generationSettings.shape)

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
  if (isJson(request)) return await fromJson(request)
  throw new RequestError(
    'wrong_type',
    'Expected the content type multipart/form-data (with a file in the field image) or application/json ' +
      `${takesPicture ? 'or image/* ' : ''}but got another or none.`,
  )
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

/** @throws RequestError `bad_json`, and about the picture */
async function fromJson(request: Request): Promise<Fields> {
  const { json, pictureAt } = await readJson(request, 1)
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new RequestError('bad_json', 'Expected a JSON object with the field image.')
  }
  const { image, ...fields } = json as Record<string, unknown>
  if (image === undefined) return fields
  if (image === '') throw noPicture()
  return { ...fields, image: pictureAt(typeof image === 'string' ? image : '') }
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
