// Files of a bucket -> the same files in a folder, by many requests at once, each for one piece of a file.
//
// A piece is written in its place as soon as it is whole. Files are hashed in order while they arrive: a piece that
// comes before its turn stays in memory until then, and no piece is begun too far ahead of the first that is missing.

import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { forEachLimit } from '../concurrency.ts'
import { ArtifactError, UpstreamError } from '../errors.ts'
import { type RetryOptions, retry, TransientError } from '../retry.ts'
import { stopWith } from '../stop.ts'
import { S3Error } from '../store/answers.ts'
import type { Bucket } from '../store/bucket.ts'
import type { PartialDownload } from './partial-download.ts'

export interface RemoteFile {
  path: string
  sizeBytes: number
  sha256: string
  /** The version in the bucket that is read, all pieces of it. */
  etag: string
}

export interface Streams {
  count: number
  pieceBytes: number
}

/** So many pieces for each stream may wait for their turn to be hashed. */
const READ_AHEAD = 2

interface Piece {
  file: OpenFile
  number: number
  from: number
  to: number
}

interface OpenFile extends RemoteFile {
  handle: FileHandle
  hash: Hash
  /** Pieces that arrived before their turn; the piece whose turn it is. */
  outOfOrder: Map<number, Uint8Array>
  nextPiece: number
}

/**
 * Fetches what `partial` does not have yet. Returns the files whose contents are not what their sha256 says.
 * `onBytes` is told how many more bytes are here. Throws what the disk refuses, UpstreamError `model_unreachable`
 * (another run goes on from here) or `model_replaced`, SetupError, BusyError `cancelled`.
 */
export async function downloadRanges(
  bucket: Bucket,
  files: readonly RemoteFile[],
  partial: PartialDownload,
  streams: Streams,
  retryOptions: RetryOptions,
  onBytes: (count: number) => void,
): Promise<RemoteFile[]> {
  const openFiles: OpenFile[] = []
  try {
    for (const file of files) {
      await partial.startFile(file.path, file.etag)
      const handle = await open(join(partial.folder, file.path), constants.O_RDWR | constants.O_CREAT)
      openFiles.push({ ...file, handle, hash: createHash('sha256'), outOfOrder: new Map(), nextPiece: 0 })
      await handle.truncate(file.sizeBytes)
    }
    const pieces = openFiles.flatMap((file) => piecesOf(file, streams.pieceBytes))
    const slidingWindow = createWindow(pieces.length, streams.count * READ_AHEAD)
    const bufferPool = createBufferPool(streams.pieceBytes)
    await forEachLimit([...pieces.entries()], streams.count, async ([i, piece], stop) => {
      await slidingWindow.wait(i)
      const { signal, end } = stopWith(retryOptions.signal, stop)
      try {
        const bytes =
          (await readBack(partial, piece, bufferPool, onBytes)) ??
          (await fetchPiece(bucket, partial, piece, bufferPool, { ...retryOptions, signal }, onBytes))
        hashInOrder(piece, bytes, bufferPool)
        slidingWindow.done(i)
      } catch (error) {
        slidingWindow.open()
        throw error
      } finally {
        end()
      }
    })
  } finally {
    await Promise.all(openFiles.map(({ handle }) => handle.close()))
  }
  return openFiles.filter(({ hash, sha256 }) => hash.digest('hex') !== sha256)
}

function piecesOf(file: OpenFile, pieceBytes: number): Piece[] {
  return Array.from({ length: Math.ceil(file.sizeBytes / pieceBytes) }, (_, number) => ({
    file,
    number,
    from: number * pieceBytes,
    to: Math.min(file.sizeBytes, (number + 1) * pieceBytes),
  }))
}

/** A piece that an earlier run has written, if it is as it was written. */
async function readBack(
  partial: PartialDownload,
  { file, number, from, to }: Piece,
  bufferPool: BufferPool,
  onBytes: (count: number) => void,
): Promise<Uint8Array | undefined> {
  const crc = partial.crcOf(file.path, number)
  if (crc === undefined) return undefined
  const bytes = bufferPool.acquire(to - from)
  const { bytesRead } = await file.handle.read(bytes, 0, bytes.length, from)
  if (bytesRead !== bytes.length || crc32(bytes) !== crc) return undefined
  onBytes(bytes.length)
  return bytes
}

async function fetchPiece(
  bucket: Bucket,
  partial: PartialDownload,
  { file, number, from, to }: Piece,
  bufferPool: BufferPool,
  retryOptions: RetryOptions,
  onBytes: (count: number) => void,
): Promise<Uint8Array> {
  const bytes = bufferPool.acquire(to - from)
  let have = 0
  // What has arrived of a piece stays: another try goes on behind it.
  await retry(retryOptions, file.path, async () => {
    const range = { from: from + have, to, etag: file.etag }
    const { body } = await bucket
      .get(file.path, range, retryOptions.signal)
      .catch(rethrowFor(bucket, file.path))
    for await (const chunk of body) {
      if (have + chunk.length > bytes.length) throw tooMuch(bucket, file.path)
      bytes.set(chunk, have)
      have += chunk.length
      onBytes(chunk.length)
    }
    if (have < bytes.length) {
      throw new TransientError(`it ended after ${have} of ${bytes.length} bytes of a piece`, {
        reason: 'short',
      })
    }
  })
  await write(file.handle, bytes, from)
  await partial.add(file.path, number, crc32(bytes))
  return bytes
}

function rethrowFor(bucket: Bucket, path: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof S3Error)) throw error
    if (error.reason === 'missing') throw missing(bucket, path)
    throw new UpstreamError(
      'model_replaced',
      `Expected ${path} of ${bucket.name} to stay as it is while it is fetched but it was replaced. Try again; push new versions to a new prefix.`,
      { cause: error },
    )
  }
}

export function missing(bucket: Bucket, path: string): ArtifactError {
  return new ArtifactError(
    'damaged_artifact',
    `Expected ${path} in ${bucket.name} but it is missing. Push the artifact again: npx glimpse push <artifact> ${bucket.name}`,
  )
}

function tooMuch(bucket: Bucket, path: string): UpstreamError {
  return new UpstreamError(
    'bad_answer',
    `Expected a part of ${path} from ${bucket.name} but other bytes came. The service does not know ranges (AWS_ENDPOINT_URL_S3).`,
  )
}

/** Updates the file's hash with this piece and those after it that are here already. */
function hashInOrder({ file, number }: Piece, bytes: Uint8Array, bufferPool: BufferPool): void {
  file.outOfOrder.set(number, bytes)
  for (let next = file.outOfOrder.get(file.nextPiece); next; next = file.outOfOrder.get(file.nextPiece)) {
    file.hash.update(next)
    file.outOfOrder.delete(file.nextPiece)
    file.nextPiece++
    bufferPool.release(next)
  }
}

async function write(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

interface BufferPool {
  acquire(size: number): Uint8Array
  release(bytes: Uint8Array): void
}

/** Memory for pieces, used again: the system clears each page that it hands out, which takes as long as copying. */
function createBufferPool(pieceBytes: number): BufferPool {
  const free: ArrayBufferLike[] = []
  return {
    acquire: (size) => new Uint8Array(free.pop() ?? Buffer.allocUnsafeSlow(pieceBytes).buffer, 0, size),
    release: (bytes) => void free.push(bytes.buffer),
  }
}

/** Lets nobody begin more than `size` beyond the first that is not done, until it is opened for all. */
function createWindow(count: number, size: number) {
  const isDone = new Uint8Array(count)
  let first = 0
  let waiting: (() => void)[] = []
  const wake = () => {
    for (const go of waiting) go()
    waiting = []
  }
  return {
    async wait(i: number): Promise<void> {
      while (i >= first + size) await new Promise<void>((resolve) => waiting.push(resolve))
    },
    done(i: number): void {
      isDone[i] = 1
      while (isDone[first] === 1) first++
      wake()
    },
    open(): void {
      first = count
      wake()
    },
  }
}
