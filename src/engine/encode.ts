// Pictures of requests -> their `outputs`: image -> pixels -> vision -> queries, each stage from its cache where it has the
// picture. A picture that several requests share is encoded once; pictures go through the graphs in batches.

import { QUERIES, VISION } from '../artifact/contract.ts'
import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import { imagesPerRun } from '../run/micro-batch.ts'
import type { Model } from '../run/model.ts'
import { type Outputs, runQueries } from '../run/queries.ts'
import { concatRows, splitRows, Tensor } from '../run/tensor.ts'
import { runVision } from '../run/vision.ts'
import type { StageCaches } from './stage-cache.ts'
import type { ActiveRequest, QueryText } from './tasks/task.ts'
import { isTaskName, taskNamed } from './tasks.ts'
import { timed } from './timings.ts'

export interface EncodableRequest extends ActiveRequest {
  /** sha256 of the picture. */
  picture: string
  /** The picture's bytes. Without them it must be cached. */
  image?: Uint8Array
  queryText?: QueryText
}

/** The requests about one picture and, where the queries read it, one text: one row of the graph `queries`. */
interface QueryRow {
  key: string
  queryText?: QueryText
  requests: EncodableRequest[]
}

interface Picture {
  picture: string
  image?: Uint8Array
  rows: QueryRow[]
  requests: EncodableRequest[]
  vision?: Tensor
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
  const reads = outputsRead(model)
  const pictures = await attachCached(caches, groupByPicture(requests), reads)
  await onReady(requests.filter(({ outputs }) => outputs))
  const step = imagesPerRun(model.manifest, model.provider)
  for (let at = 0; at < pictures.length; at += step) {
    const chunk = pictures.slice(at, at + step)
    await encodeVision(model, caches, chunk)
    const rows = chunk.flatMap((one) => one.rows.map((row) => ({ ...row, vision: one.vision })))
    for (let from = 0; from < rows.length; from += step) {
      await encodeQueries(model, caches, rows.slice(from, from + step), reads)
    }
    await onReady(chunk.flatMap((one) => one.requests).filter(({ outputs }) => outputs))
  }
}

function groupByPicture(requests: readonly EncodableRequest[]): Picture[] {
  const pictures = new Map<string, Picture>()
  for (const request of requests) {
    const { picture, image, queryText } = request
    const own = pictures.get(picture) ?? { picture, rows: [], requests: [] }
    pictures.set(picture, own)
    own.image ??= image
    own.requests.push(request)
    const key = queryText ? `${picture}/${sha256Hex(queryText.text)}` : picture
    const row = own.rows.find((one) => one.key === key)
    if (row) row.requests.push(request)
    else own.rows.push({ key, queryText, requests: [request] })
  }
  return [...pictures.values()]
}

/** Sets what is cached; returns the pictures that have to be encoded, with only the rows that are not cached. */
async function attachCached(
  caches: StageCaches,
  pictures: readonly Picture[],
  reads: readonly string[],
): Promise<Picture[]> {
  const missing = await Promise.all(
    pictures.map(async (picture) => {
      const rows: QueryRow[] = []
      for (const row of picture.rows) {
        const outputs = await caches.queries.get(row.key)
        // An older version may have stored fewer outputs.
        if (outputs && reads.every((name) => outputs[name]))
          for (const one of row.requests) one.outputs = outputs
        else rows.push(row)
      }
      if (rows.length === 0) return []
      const vision = (await caches.vision?.get(picture.picture))?.[VISION.vision]
      if (vision || picture.image) return [{ ...picture, rows, vision }]
      const error = new RequestError(
        'picture_forgotten',
        'The picture with this sha256 is no longer cached. Send its bytes as `image`.',
      )
      for (const { requests } of rows) for (const one of requests) one.finish({ error })
      return []
    }),
  )
  return missing.flat()
}

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
    const vision = await timed(requests, 'vision', () => runVision(model.sessions[VISION.graph]!, pixels))
    const rows = await splitRows(vision)
    for (const [i, { picture }] of ready.entries()) {
      picture.vision = rows[i]!
      await caches.vision?.set(picture.picture, { [VISION.vision]: rows[i]! })
    }
  })
}

/** Sets the outputs of the requests of these rows, with one run of the graph `queries`. */
async function encodeQueries(
  model: Model,
  caches: StageCaches,
  all: readonly (QueryRow & { vision?: Tensor })[],
  reads: readonly string[],
): Promise<void> {
  const rows = all.filter(({ vision, requests }) => vision && isWanted(requests))
  const requests = rows.flatMap((row) => row.requests)
  if (rows.length === 0) return
  await failAllOnError(requests, async () => {
    const vision = await concatRows(rows.map((row) => row.vision!))
    const texts = model.manifest.queries.reads_text ? rows.map(({ queryText }) => queryText!.ids) : undefined
    const session = model.sessions[QUERIES.graph]!
    const names = reads.filter((name) => name !== VISION.vision)
    const outputs = await timed(requests, 'queries', () => runQueries(session, vision, names, texts))
    const split: [string, Tensor[]][] = []
    for (const name of names) split.push([name, await splitRows(outputs[name]!)])
    if (reads.includes(VISION.vision)) split.push([VISION.vision, rows.map((row) => row.vision!)])
    await Promise.all(
      rows.map(async (row, i) => {
        const own: Outputs = Object.fromEntries(split.map(([name, parts]) => [name, parts[i]!]))
        for (const one of row.requests) one.outputs = own
        await caches.queries.set(row.key, own)
      }),
    )
  })
}

/** Names of the outputs that the model's tasks read: each request gets all of them, computed or cached. */
function outputsRead({ manifest }: Model): string[] {
  const reads = manifest.tasks.flatMap((name) => (isTaskName(name) ? taskNamed(name).reads : []))
  return [...new Set(reads)]
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
