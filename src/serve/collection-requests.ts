// Requests about collections -> what is done with them: fields are checked here, as in request.ts.
//
//   PUT     image or upload, date, metadata; the picture alone is a request too
//   search  text, image, upload or id, and any of them together; weights, minus, filter, limit, offset, sort, rerank,
//           least_probability

import { z } from 'zod'
import type { Engine } from '../engine/engine.ts'
import type { BaseResult } from '../engine/request.ts'
import { textField } from '../engine/tasks/generate.ts'
import { stopwatch } from '../engine/timings.ts'
import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { startDeadline } from '../remote/deadline.ts'
import { type FindContext, type Found, find, type Term } from '../search/find.ts'
import type { Filter, Page, Picture } from '../search/store.ts'
import { noPicture, pictureFields, readFields } from './fields.ts'
import { badFields, type ParsedRequest, type RunWithin } from './request.ts'
import { GLIMPSE_FORM, type ResponseForm } from './response-form.ts'
import { pictureTooLarge, readUpload, type Uploads } from './uploads.ts'

/** Characters of a picture's metadata as JSON: a store of texts is elsewhere. */
const MAX_METADATA = 4_096
const MAX_HITS = 100
const MAX_OFFSET = 10_000
const MAX_LISTED = 1_000
const MAX_IDS = 1_000
/** Each costs a pass through the text model. */
const MAX_MINUS = 10

const idField = z.string().min(1)
const dateField = z.iso.datetime({ offset: true }).or(z.iso.date())

export const putFields = z.strictObject({
  ...pictureFields,
  /** What `from` and `to` of a filter compare. Default: now. */
  date: dateField.optional(),
  /** Comes back with every hit. */
  metadata: z.record(z.string(), z.unknown()).optional(),
})

const counted = (most: number) => z.coerce.number<number>().int().min(0).max(most).optional()
/** Of a query string. */
export const pageFields = z.strictObject({
  limit: counted(MAX_LISTED).meta({ description: 'default 100' }),
  offset: counted(Number.MAX_SAFE_INTEGER).meta({ description: 'default 0' }),
  prefix: z.string().optional(),
  from: dateField.optional(),
  to: dateField.optional(),
})

const weight = z.number().positive().max(100).optional()
export const searchFields = z.strictObject({
  ...pictureFields,
  text: textField.optional(),
  /** A picture of the collection. */
  id: idField.optional(),
  weights: z.strictObject({ text: weight, image: weight, id: weight }).optional(),
  minus: z.array(textField).max(MAX_MINUS).optional(),
  filter: z
    .strictObject({
      ids: z.array(idField).max(MAX_IDS).optional(),
      prefix: z.string().optional(),
      from: dateField.optional(),
      to: dateField.optional(),
    })
    .optional(),
  limit: z.number().int().min(1).max(MAX_HITS).optional(),
  offset: z.number().int().min(0).max(MAX_OFFSET).optional(),
  sort: z.enum(['score', 'newest', 'oldest']).optional(),
  rerank: z.boolean().optional(),
  least_probability: z.number().min(0).max(1).optional(),
})

/** Result of a request that more than one task answers. `picture` and `text` mean nothing in it. */
interface CollectionResult extends BaseResult {
  body: object
}

const FORM: ResponseForm = {
  ...GLIMPSE_FORM,
  json: (result) => {
    const { body, model, timings_ms } = result as CollectionResult
    return { ...body, model, timings_ms: { queue: timings_ms.queue, total: timings_ms.total } }
  },
}

/** @param put writes the picture and returns the model's name. @throws RequestError */
export async function readPut(
  request: Request,
  { name, id }: { name: string; id: string },
  uploads: Uploads | undefined,
  put: (engine: Engine, picture: Picture, image: Uint8Array, signal: AbortSignal) => Promise<string>,
): Promise<ParsedRequest> {
  const fields = await readFields(request, true)
  const { date, metadata, ...given } = parsed(putFields, fields)
  const { image, used } = await readImage(given, uploads)
  if (!image) throw noPicture()
  const text = metadata && JSON.stringify(metadata)
  if (text !== undefined && text.length > MAX_METADATA) {
    const message = `Expected metadata of at most ${MAX_METADATA} characters as JSON but got ${text.length}.`
    throw new RequestError('bad_field', message)
  }
  const now = Date.now()
  const record: Picture = {
    id,
    sha256: sha256Hex(image),
    sizeBytes: image.length,
    modifiedMs: now,
    dateMs: date === undefined ? now : Date.parse(date),
    metadata: text,
  }
  const run = timed(async (engine, signal) => {
    const model = await put(engine, record, image, signal)
    return { model, body: recordOf(record) }
  })
  return { ...parsedOf({ name, id, date, text, image }, run), used }
}

/** @param open the collection and the model to search with. @throws RequestError */
export async function readSearch(
  request: Request,
  name: string,
  uploads: Uploads | undefined,
  open: (engine: Engine) => Promise<Omit<FindContext, 'signal'>>,
): Promise<ParsedRequest> {
  const fields = await readFields(request, false)
  const {
    text,
    id,
    weights = {},
    filter = {},
    least_probability,
    image: bytes,
    upload,
    ...search
  } = parsed(searchFields, fields)
  const { image, used } = await readImage({ image: bytes, upload }, uploads)
  const terms: Term[] = [
    ...(text === undefined ? [] : [{ text, weight: weights.text }]),
    ...(image ? [{ image, weight: weights.image }] : []),
    ...(id === undefined ? [] : [{ id, weight: weights.id }]),
  ]
  if (terms.length === 0)
    throw new RequestError('no_question', 'Expected text, image or id to search by but got none.')
  const within = filterOf(filter)
  const run = timed(async (engine, signal) => {
    const context = await open(engine)
    const found = await find(
      { ...context, signal },
      { ...search, terms, filter: within, leastProbability: least_probability },
    )
    return { model: context.embedder.model.name, body: bodyOf(found) }
  })
  const asked = { name, text, id, weights, filter, least_probability, image, ...search }
  return { ...parsedOf(asked, run), used }
}

/** @throws RequestError `bad_field` */
export function readPage(query: URLSearchParams): { filter: Filter; page: Page } {
  const { limit = 100, offset = 0, ...filter } = parsed(pageFields, Object.fromEntries(query))
  return { filter: filterOf(filter), page: { limit, offset } }
}

/** A picture as clients see it. */
export function recordOf({ id, sha256, sizeBytes, dateMs, metadata }: Picture) {
  return {
    id,
    sha256,
    size_bytes: sizeBytes,
    date: new Date(dateMs).toISOString(),
    metadata: metadata === undefined ? null : (JSON.parse(metadata) as unknown),
  }
}

function bodyOf({ hits, judged }: Found) {
  const results = hits.map(({ picture, contrastive, probability }) => ({
    ...recordOf(picture),
    contrastive,
    probability,
  }))
  return { results, judged }
}

/** A day without a time is the whole day in UTC. */
function filterOf(given: { ids?: string[]; prefix?: string; from?: string; to?: string }): Filter {
  const { ids, prefix, from, to } = given
  const isDay = to?.length === 'yyyy-mm-dd'.length
  return {
    ids,
    under: prefix === undefined ? undefined : [prefix],
    fromMs: from === undefined ? undefined : Date.parse(from),
    toMs: to === undefined ? undefined : Date.parse(isDay ? `${to}T23:59:59.999Z` : to),
  }
}

function parsed<T extends z.ZodObject>(schema: T, fields: object): z.output<T> {
  const checked = schema.safeParse(fields)
  if (checked.success) return checked.data
  throw badFields(checked.error, schema)
}

async function readImage(given: { image?: Uint8Array; upload?: string }, uploads: Uploads | undefined) {
  if (given.image && given.upload !== undefined) {
    throw new RequestError('bad_field', 'Expected one picture but got image and upload. Send one of them.')
  }
  const uploaded = given.upload === undefined ? undefined : await readUpload(given.upload, uploads)
  const image = uploaded?.image ?? given.image
  if (image && image.length > MAX_PICTURE_BYTES) throw pictureTooLarge()
  return { image: image?.length ? image : undefined, used: uploaded?.remove }
}

/** `fields` identify the request for its Idempotency-Key. */
function parsedOf(fields: object, run: RunWithin): ParsedRequest {
  return { request: { ...fields, task: 'features' }, stream: false, form: FORM, run }
}

/** Ends the work with the request's deadline. @throws BusyError `deadline` */
function timed(
  work: (engine: Engine, signal: AbortSignal) => Promise<{ model: string; body: object }>,
): RunWithin {
  return async (engine, { signal, deadlineMs = Number.POSITIVE_INFINITY }) => {
    const clock = stopwatch()
    const deadline = startDeadline(deadlineMs, signal)
    try {
      const { model, body } = await work(engine, deadline.signal)
      const result: CollectionResult = { text: '', picture: '', model, timings_ms: clock.read(), body }
      return result
    } catch (error) {
      deadline.throwIfEnded()
      throw error
    } finally {
      deadline.end()
    }
  }
}
