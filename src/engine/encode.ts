// Pictures of requests -> their `outputs`: image -> pixels -> vision -> queries, each stage from its cache where it has the
// picture. A picture that several requests share is encoded once; pictures go through the graphs in batches.
//
// A request gets the outputs that its task reads. Two graphs read the vision tower's output: `queries`, for the language model,
// and `matching`, for comparisons with texts.

import { MATCHING, QUERIES, VISION } from '../artifact/contract.ts'
import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import { runImageEmbeds } from '../run/matching.ts'
import { imagesPerRun } from '../run/micro-batch.ts'
import type { Model } from '../run/model.ts'
import { type Outputs, runQueries } from '../run/queries.ts'
import { concatRows, splitRows, Tensor } from '../run/tensor.ts'
import { runTower } from '../run/vision.ts'
import type { StageCaches } from './stage-cache.ts'
import type { ActiveRequest, QueryText } from './tasks/task.ts'
import { timed } from './timings.ts'

export interface EncodableRequest extends ActiveRequest {
  /** sha256 of the picture; '' if the request has none, and reads nothing. */
  picture: string
  /** The picture's bytes. Without them it must be cached. */
  image?: Uint8Array
  queryText?: QueryText
  /** Names of the outputs that its task reads. */
  reads: readonly string[]
}

/** A graph that reads the tower's output, and those of its outputs that depend on nothing but picture and query text. */
type Reader = 'queries' | 'matching'
const OUTPUTS_OF: Record<Reader, readonly string[]> = {
  queries: [QUERIES.queries, QUERIES.prefix],
  matching: [MATCHING.query_hidden, MATCHING.image_embeds],
}

/** The requests about one picture and, where the queries read it, one text: one row of a graph. */
interface Row {
  reader: Reader
  key: string
  queryText?: QueryText
  /** Of the graph's outputs, those that these requests read. */
  names: string[]
  requests: EncodableRequest[]
}

interface Picture {
  picture: string
  image?: Uint8Array
  rows: Row[]
  requests: EncodableRequest[]
  /** The tower's outputs. */
  vision?: Outputs
}

/**
 * Sets the outputs of all requests. `onReady` is called with those whose outputs are set: first with the cached ones, then
 * after each run. They gain nothing from waiting for the next run. A request whose picture cannot be encoded is finished
 * with its error.
 */
export async function encodePictures(
  model: Model,
  caches: StageCaches,
  requests: readonly EncodableRequest[],
  onReady: (ready: readonly EncodableRequest[]) => Promise<void>,
): Promise<void> {
  const pictures = await attachCached(caches, groupByPicture(requests))
  await onReady(requests.filter(isReady))
  const step = imagesPerRun(model.manifest, model.provider)
  for (let at = 0; at < pictures.length; at += step) {
    const chunk = pictures.slice(at, at + step)
    await encodeVision(model, caches, chunk)
    const rows = chunk.flatMap((one) => one.rows.map((row) => ({ ...row, vision: one.vision })))
    for (const reader of Object.keys(OUTPUTS_OF) as Reader[]) {
      const own = rows.filter((row) => row.reader === reader)
      for (let from = 0; from < own.length; from += step) {
        await encodeRows(model, caches, reader, own.slice(from, from + step))
      }
    }
    await onReady(chunk.flatMap((one) => one.requests).filter(isReady))
  }
}

function isReady({ reads, outputs }: EncodableRequest): boolean {
  return reads.every((name) => outputs?.[name])
}

/** Adds those of `outputs` that the requests read. */
function attach(requests: readonly EncodableRequest[], outputs: Outputs): void {
  for (const one of requests) {
    const own = Object.entries(outputs).filter(([name]) => one.reads.includes(name))
    one.outputs = { ...one.outputs, ...Object.fromEntries(own) }
  }
}

function groupByPicture(requests: readonly EncodableRequest[]): Picture[] {
  const pictures = new Map<string, Picture>()
  for (const request of requests.filter(({ reads }) => reads.length > 0)) {
    const { picture, image, queryText, reads } = request
    const own = pictures.get(picture) ?? { picture, rows: [], requests: [] }
    pictures.set(picture, own)
    own.image ??= image
    own.requests.push(request)
    for (const [reader, outputs] of Object.entries(OUTPUTS_OF) as [Reader, readonly string[]][]) {
      const names = reads.filter((name) => outputs.includes(name))
      if (names.length === 0) continue
      const text = reader === 'queries' ? queryText : undefined
      const key = text ? `${picture}/${sha256Hex(text.text)}` : picture
      const row = own.rows.find((one) => one.reader === reader && one.key === key)
      if (row) {
        row.requests.push(request)
        row.names = [...new Set([...row.names, ...names])]
      } else own.rows.push({ reader, key, queryText: text, names, requests: [request] })
    }
  }
  return [...pictures.values()]
}

/** Attaches what is cached; returns the pictures that have to be encoded, with only the rows that are not cached. */
async function attachCached(caches: StageCaches, pictures: readonly Picture[]): Promise<Picture[]> {
  const missing = await Promise.all(
    pictures.map(async (picture) => {
      const rows: Row[] = []
      for (const row of picture.rows) {
        const outputs = await caches[row.reader]?.get(row.key)
        if (outputs && row.names.every((name) => outputs[name])) attach(row.requests, outputs)
        else rows.push(row)
      }
      const isTowerRead = ({ reads }: EncodableRequest) => TOWER.some((name) => reads.includes(name))
      if (rows.length === 0 && !picture.requests.some(isTowerRead)) return []
      const vision = await caches.vision?.get(picture.picture)
      if (vision) attach(picture.requests, vision)
      if (vision && rows.length === 0) return []
      if (vision || picture.image) return [{ ...picture, rows, vision }]
      const error = new RequestError(
        'picture_forgotten',
        'The picture with this sha256 is no longer cached. Send its bytes as `image`.',
      )
      for (const one of picture.requests) if (!isReady(one)) one.finish({ error })
      return []
    }),
  )
  return missing.flat()
}

const TOWER: readonly string[] = [VISION.vision, VISION.matching]

/** Sets `vision` of the pictures that lack it, with one run of the graph. */
async function encodeVision(model: Model, caches: StageCaches, pictures: readonly Picture[]): Promise<void> {
  const ready: { picture: Picture; pixels: Tensor }[] = []
  for (const picture of pictures) {
    const { requests, image, vision } = picture
    if (vision || !isWanted(requests)) continue
    await failAllOnError(requests, async () => {
      const rgb = await timed(requests, 'image', () => decode(image!, AS_SEEN))
      if (!isWanted(requests)) return
      const { data, dims } = await timed(requests, 'pixels', () => toPixels(rgb, model.preprocessorConfig))
      ready.push({ picture, pixels: Tensor.float32(data, dims) })
    })
  }
  const requests = ready.flatMap(({ picture }) => picture.requests)
  if (!isWanted(requests)) return
  await failAllOnError(requests, async () => {
    const pixels = await concatRows(ready.map((one) => one.pixels))
    const { sessions, manifest } = model
    const outputs = await timed(requests, 'vision', () => runTower(sessions[VISION.graph]!, pixels, manifest))
    const rows = await rowsOf(outputs, ready.length)
    for (const [i, { picture }] of ready.entries()) {
      picture.vision = rows[i]!
      attach(picture.requests, rows[i]!)
      await caches.vision?.set(picture.picture, rows[i]!)
    }
  })
}

/** Attaches to the requests of these rows what they read of one graph's outputs, with one run of it. */
async function encodeRows(
  model: Model,
  caches: StageCaches,
  reader: Reader,
  all: readonly (Row & { vision?: Outputs })[],
): Promise<void> {
  const rows = all.filter(({ vision, requests }) => vision && isWanted(requests))
  const requests = rows.flatMap((row) => row.requests)
  if (rows.length === 0) return
  await failAllOnError(requests, async () => {
    const names = [...new Set(rows.flatMap((row) => row.names))]
    const input = reader === 'queries' ? VISION.vision : VISION.matching
    const vision = await concatRows(rows.map((row) => row.vision![input]!))
    const session = model.sessions[reader]!
    const texts = model.manifest.queries.reads_text ? rows.map(({ queryText }) => queryText!.ids) : undefined
    const outputs = await timed(requests, 'queries', () =>
      reader === 'queries'
        ? runQueries(session, vision, names, texts)
        : runImageEmbeds(session, vision, names),
    )
    const split = await rowsOf(outputs, rows.length)
    await Promise.all(
      rows.map(async (row, i) => {
        attach(row.requests, split[i]!)
        const cached = await caches[reader]?.get(row.key)
        await caches[reader]?.set(row.key, { ...cached, ...split[i]! })
      }),
    )
  })
}

/** Outputs of `count` rows -> the outputs of each. */
async function rowsOf(outputs: Outputs, count: number): Promise<Outputs[]> {
  const rows: Record<string, Tensor>[] = Array.from({ length: count }, () => ({}))
  const split = new Map<Tensor, Tensor[]>()
  for (const [name, tensor] of Object.entries(outputs)) {
    // Two names may be of one tensor.
    const parts = split.get(tensor) ?? (await splitRows(tensor))
    split.set(tensor, parts)
    for (const [i, row] of rows.entries()) row[name] = parts[i]!
  }
  return rows
}

function isWanted(requests: readonly EncodableRequest[]): boolean {
  return requests.some((one) => one.isActive())
}

/** An error of `work` is the result of each of these requests. */
async function failAllOnError(
  requests: readonly EncodableRequest[],
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    for (const one of requests) one.finish({ error })
  }
}
