// Pictures -> a row for each: its caption, or why there is none. As many are at the engine as it answers in one batch, and as
// many again are being read. Pictures with the same content are captioned once, in this run or in an earlier one.

import { lstatSync } from 'node:fs'
import { readFile, realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { inParallel, keyedMutex } from '../concurrency.ts'
import { askAgain, isPassing } from '../engine/again.ts'
import type { Engine } from '../engine/engine.ts'
import type { InferenceRequest } from '../engine/request.ts'
import { cancelled, isCode, isGlimpseError, RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { beginningsOf, reasonOf } from '../search/walk.ts'
import { type Place, planAltText } from '../xmp/alt-text.ts'
import type { NamedPicture, NamedPictures } from './pictures.ts'
import { FIELDS, type Row, type RowFile } from './rows.ts'

export interface BatchOptions {
  engine: Engine
  /** Pictures that the engine answers in one batch. */
  batch: number
  request: Pick<InferenceRequest, 'prompt' | 'settings'>
  rows?: RowFile
  /** Where alt texts are written besides. */
  write?: Place
  /** Whether a person's alt text is replaced. */
  overwrite: boolean
  onRow?: (row: Row) => void
  onProgress?: (done: number, total: number) => void
  signal?: AbortSignal
}

export interface BatchReport {
  captioned: number
  /** Pictures whose text is from an earlier run, or of another picture with the same content. */
  reused: number
  /** Pictures in which a person's alt text stays. */
  kept: number
  errors: number
}

type Caption = Pick<Row, 'text' | 'unknown' | 'model'>

/**
 * @throws BusyError `cancelled` by `signal`, and what ends the engine; UpstreamError; SetupError. Rows that were written stay.
 */
export async function captionPictures(
  { pictures, folders }: Pick<NamedPictures, 'pictures' | 'folders'>,
  options: BatchOptions,
): Promise<BatchReport> {
  const { engine, rows, write, signal, onProgress } = options
  const made_by = await makerOf(options)
  const earlier = new Map((rows?.earlier ?? []).map((row) => [resolve(row.image), row]))
  /** By the sha256 of a file, before and after its text was written into it. */
  const known = new Map<string, Row>()
  for (const row of earlier.values()) {
    if (row.made_by !== made_by || (row.text === undefined && !isLasting(row))) continue
    for (const sha256 of [row.sha256, row.written_sha256]) if (sha256) known.set(sha256, row)
  }
  const running = new Map<string, Promise<Caption>>()
  const latest = new Map(earlier)
  /** Files that this run wrote a text into: sha256 after it, and before. */
  const writtenNow = new Map<string, string>()
  const oneAtATime = keyedMutex()
  const counts = { captioned: 0, reused: 0, kept: 0, errors: 0 }
  let done = 0
  const add = (path: string, row: Row) => {
    const before = latest.get(path)
    if (before && isSame(before, row)) return
    const whole = { ...extrasOf(before), ...row }
    rows?.add(whole)
    latest.set(path, whole)
  }

  const caption = async (image: Uint8Array): Promise<Caption> => {
    const { text, model, unknown } = await askAgain(() =>
      engine.answer({ task: 'caption', image, ...options.request }, { signal }),
    )
    counts.captioned++
    return { text, ...(unknown && { unknown }), model }
  }
  const captionOf = async (sha256: string, image: Uint8Array): Promise<Caption> => {
    const before = known.get(sha256)
    if (before?.error_code && before.text === undefined) throw errorOf(before)
    const twin = before ? captionIn(before) : running.get(sha256)
    const made = twin ?? caption(image)
    if (!before) running.set(sha256, made as Promise<Caption>)
    const own = await made
    if (twin) counts.reused++
    return own
  }

  const rowOf = async (picture: NamedPicture): Promise<Row> => {
    const { image, path, sizeBytes, fault } = picture
    const row: Row = { image, made_by }
    try {
      if (fault !== undefined) throw new RequestError('no_picture', `Expected a picture but ${fault}.`)
      if (sizeBytes > MAX_PICTURE_BYTES) throw new RequestError('picture_too_large', tooLarge(sizeBytes))
      const bytes = await readFile(path)
      const sha256 = sha256Hex(bytes)
      row.sha256 = sha256
      Object.assign(row, await captionOf(sha256, bytes))
      if (write && !row.unknown)
        await oneAtATime.run([await realpath(path)], () => writeText(picture, row, bytes, write))
      // What an earlier run wrote into this file is still there.
      if (!write) Object.assign(row, writtenIn(known.get(sha256)))
      return row
    } catch (error) {
      if (signal?.aborted) throw stopped()
      if (isGlimpseError(error) && error.kind !== 'request' && !isPassing(error)) throw error
      Object.assign(row, faultOf(error, row.text !== undefined))
      delete row.written
      delete row.written_sha256
      return row
    }
  }
  const writeText = async ({ path }: NamedPicture, row: Row, bytes: Uint8Array, place: Place) => {
    const now = sha256Hex(await readFile(path))
    if (now !== row.sha256 && writtenNow.get(now) === row.sha256) {
      // Another name of the same file, through a link, had its turn.
      Object.assign(row, { written: place, written_sha256: now })
      return
    }
    const before = known.get(row.sha256!)
    const own = [before, earlier.get(path)].flatMap((one) => (one?.written && one.text ? [one.text] : []))
    const plan = await planAltText(path, bytes, row.text!, place, { overwrite: options.overwrite, own })
    row.written = plan.written
    if (plan.sha256 !== row.sha256) row.written_sha256 = plan.sha256
    if (plan.written === 'kept') counts.kept++
    // Before the file changes: its new content is known then, whenever this process ends.
    else add(path, row)
    await plan.carryOut()
    writtenNow.set(plan.sha256, row.sha256!)
  }

  onProgress?.(0, pictures.length)
  await inParallel(pictures, 2 * options.batch, async (picture) => {
    if (signal?.aborted) throw stopped()
    const row = await rowOf(picture)
    if (row.error !== undefined) counts.errors++
    add(picture.path, row)
    options.onRow?.(row)
    onProgress?.(++done, pictures.length)
  })
  rows?.finish(inOrder(latest, pictures, folders))
  return counts
}

/** What makes texts equal: the model, its precision, prompt and settings. */
async function makerOf({ engine, request }: BatchOptions): Promise<string> {
  const { name, precision } = await (engine.describe?.() ?? engine.model)
  return sha256Hex(JSON.stringify([name, precision, request.prompt, request.settings])).slice(0, 12)
}

function captionIn({ text, unknown, model }: Row): Caption {
  return { text, ...(unknown && { unknown }), model }
}

function writtenIn({ written, written_sha256 }: Partial<Row> = {}): Partial<Row> {
  return { ...(written && { written }), ...(written_sha256 && { written_sha256 }) }
}

/** @param hasText whether the picture was captioned, so that writing its text failed */
function faultOf(error: unknown, hasText: boolean): Pick<Row, 'error_code' | 'error'> {
  if (isGlimpseError(error)) return { error_code: error.code, error: error.message }
  if (hasText)
    return { error_code: 'cannot_write', error: `The alt text could not be written: ${reasonOf(error)}.` }
  return { error_code: 'no_picture', error: `Expected a picture but ${reasonOf(error)}.` }
}

/** Whether the same file has the same error the next time. */
function isLasting({ error_code }: Row): boolean {
  return error_code !== undefined && isCode('request', error_code)
}

function errorOf({ error_code, error }: Row): RequestError {
  return new RequestError(error_code as never, error ?? '')
}

function isSame(one: Row, other: Row): boolean {
  return FIELDS.every((name) => one[name] === other[name])
}

/** What a person added to a row. */
function extrasOf(row: Row | undefined): Partial<Row> {
  return Object.fromEntries(Object.entries(row ?? {}).filter(([name]) => !FIELDS.includes(name)))
}

/** One row for each picture of this run, after those of other pictures. Rows of files that are gone are left out. */
function inOrder(
  rows: ReadonlyMap<string, Row>,
  pictures: readonly NamedPicture[],
  folders: readonly string[],
): Row[] {
  const own = new Set(pictures.map(({ path }) => path))
  const looked = beginningsOf(folders)
  const isGone = (path: string) => looked.some((start) => path.startsWith(start)) && !isThere(path)
  const others = [...rows.keys()].filter((path) => !own.has(path) && !isGone(path))
  return [...others, ...own].flatMap((path) => rows.get(path) ?? [])
}

/** True also for what this user may not look at. */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return true
  }
}

function tooLarge(sizeBytes: number): string {
  const [got, most] = [sizeBytes, MAX_PICTURE_BYTES].map((bytes) => Math.ceil(bytes / 1024 ** 2))
  return `Expected a picture of at most ${most} MiB but got ${got}.`
}

function stopped() {
  return cancelled(
    'Captioning was stopped. What is done is kept: run the command again with --resume to continue.',
  )
}
