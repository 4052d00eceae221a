// Folders and a collection -> the collection brought up to date with the folders: new and changed pictures are encoded,
// moved and doubled ones get the vectors of the file with the same content, gone ones are removed.
//
// A file whose size and modification time are those in the collection is not read. Of the others the sha256 decides. What
// is encoded is committed once a second, so a process that is killed loses at most the pictures of that second.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { inParallel } from '../concurrency.ts'
import { askAgain, isPassing } from '../engine/again.ts'
import { cancelled, isGlimpseError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import type { Embedder } from './embedder.ts'
import type { Collection, IndexedPicture, Picture } from './store.ts'
import {
  beginningsOf,
  type FoundFile,
  findPictures,
  reasonOf,
  type Skipped,
  type WalkOptions,
} from './walk.ts'

export interface IndexOptions extends WalkOptions {
  /** Of the files that are new or have changed: those that are done, and all. What is done is committed. */
  onProgress?: (done: number, total: number) => void
  /** Called before the index is made, which takes seconds. */
  onSettling?: () => void
}

export interface IndexReport {
  /** Picture files in the folders. */
  files: number
  unchanged: number
  added: number
  changed: number
  /** Files that needed no model: moved, copied, or with a new modification time only. */
  copied: number
  removed: number
  /** Files that are no pictures or could not be read, in this run or an earlier one, and folders that could not be read. */
  skipped: Skipped[]
}

/** Most rows of a commit, and the time between two. */
const COMMIT_ROWS = 256
const COMMIT_MS = 1_000

type Row = Picture | IndexedPicture

/**
 * @throws SetupError `no_folder`; UpstreamError `index_failed`; BusyError `cancelled` by `signal`, and what ends the engine.
 * Whatever it throws, what was committed stays.
 */
export async function indexFolders(
  collection: Collection,
  embedder: Embedder,
  folders: readonly string[],
  options: IndexOptions = {},
): Promise<IndexReport> {
  const { signal, onProgress } = options
  const { files, unread } = await findPictures(folders, options)
  const known = new Map((await collection.list({})).map((picture) => [picture.id, picture]))
  const idOf = new Map([...known.values()].filter((one) => !one.problem).map((one) => [one.sha256, one.id]))
  const todo = files.filter(({ path, sizeBytes, modifiedMs }) => {
    const before = known.get(path)
    return before?.sizeBytes !== sizeBytes || before.modifiedMs !== modifiedMs
  })
  const counts = { added: 0, changed: 0, copied: 0, removed: 0 }
  const problems = new Map([...known.values()].map(({ id, problem }) => [id, problem]))
  /** Files without a row: they may be readable the next time, although their size and time stay. */
  const failed: Skipped[] = []

  const embed = async (image: Uint8Array): Promise<Pick<IndexedPicture, 'vectors'> | { problem: string }> => {
    try {
      return { vectors: await askAgain(() => embedder.embedPicture(image, signal)) }
    } catch (error) {
      if (isGlimpseError(error) && error.kind === 'request') return { problem: error.message }
      throw error
    }
  }
  const rowOf = async ({ path, sizeBytes, modifiedMs }: FoundFile): Promise<Row> => {
    const row = { id: path, sizeBytes, modifiedMs, dateMs: modifiedMs }
    if (sizeBytes > MAX_PICTURE_BYTES) {
      const [got, most] = [sizeBytes, MAX_PICTURE_BYTES].map((bytes) => Math.ceil(bytes / 1024 ** 2))
      return {
        ...row,
        sha256: await sha256OfFile(path),
        problem: `Expected at most ${most} MiB but got ${got}.`,
      }
    }
    const image = await readFile(path)
    const sha256 = sha256Hex(image)
    const [twin] = idOf.has(sha256) ? await collection.read({ ids: [idOf.get(sha256)!] }) : []
    if (twin?.sha256 === sha256) {
      counts.copied++
      return { ...row, sha256, vectors: twin.vectors }
    }
    const made = await embed(image)
    const before = known.get(path)
    if ('vectors' in made) counts[before && !before.problem ? 'changed' : 'added']++
    return { ...row, sha256, ...made }
  }

  const writer = openWriter(collection, (done) => onProgress?.(done, todo.length))
  try {
    await inParallel(todo, 2 * embedder.batch, async (file) => {
      if (signal?.aborted) throw stopped()
      const row = await rowOf(file).catch((error: unknown): undefined => {
        if (signal?.aborted) throw stopped()
        if (isGlimpseError(error) && !isPassing(error)) throw error
        failed.push({ path: file.path, why: isGlimpseError(error) ? error.message : reasonOf(error) })
      })
      problems.set(file.path, row?.problem)
      await writer.put(row)
    })
  } finally {
    await writer.end()
  }
  const gone = goneOf(known.keys(), folders, files, unread)
  await collection.remove(gone)
  counts.removed = gone.length
  if (!(await collection.isSettled())) {
    options.onSettling?.()
    await collection.settle()
  }
  const refused = files
    .map(({ path }) => ({ path, why: problems.get(path) ?? '' }))
    .filter(({ why }) => why !== '')
  return {
    files: files.length,
    unchanged: files.length - todo.length,
    ...counts,
    skipped: [...unread, ...failed, ...refused],
  }
}

function stopped() {
  return cancelled('Indexing was stopped. What is done is kept: run the command again to continue.')
}

/** Ids below the folders whose file is not there any more. What lies in a folder that could not be read stays. */
function goneOf(
  ids: Iterable<string>,
  folders: readonly string[],
  files: readonly FoundFile[],
  unread: readonly Skipped[],
): string[] {
  const there = new Set(files.map(({ path }) => path))
  const looked = beginningsOf(folders)
  const closed = [...beginningsOf(unread.map(({ path }) => path)), ...unread.map(({ path }) => path)]
  return [...ids].filter(
    (id) =>
      !there.has(id) &&
      looked.some((start) => id.startsWith(start)) &&
      !closed.some((start) => id === start || (start.endsWith('/') && id.startsWith(start))),
  )
}

/** Commits rows in the background, one commit after another. `onDone` gets the number of files that need no more work. */
function openWriter(collection: Collection, onDone: (done: number) => void) {
  let rows: Row[] = []
  let done = 0
  let waiting = 0
  let committedAt = performance.now()
  let last = Promise.resolve()
  onDone(0)
  const commit = () => {
    const [batch, count] = [rows, waiting]
    rows = []
    waiting = 0
    committedAt = performance.now()
    last = last.then(async () => {
      await collection.upsert(batch)
      done += count
      onDone(done)
    })
    return last
  }
  return {
    /** @param row undefined: its file is done without one */
    async put(row: Row | undefined): Promise<void> {
      if (row) rows.push(row)
      waiting++
      const isDue = rows.length >= COMMIT_ROWS || performance.now() - committedAt >= COMMIT_MS
      if (isDue) await commit()
    },
    end: (): Promise<void> => commit(),
  }
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
