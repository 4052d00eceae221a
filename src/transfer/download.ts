// One file of a bucket -> the same file on disk, by several ranged requests at once; and the lock of the folder it is in.
//
// Bytes are written and hashed strictly in their order, so what is on disk is always the beginning of the file. A later run
// hashes that and requests the rest; the sha256 at the end decides whether all of it was right.

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { lock } from 'proper-lockfile'
import type { Manifest } from '../artifact/contract.ts'
import { interrupted } from '../retry.ts'
import { stopWith } from '../stop.ts'
import type { Bucket } from '../store/bucket.ts'

/** A file of the manifest, and its version in the bucket. */
export type RemoteFile = Manifest['files'][number] & { etag: string }

export interface DownloadOptions {
  /** Requests at once. Each holds one piece in memory. */
  streams: number
  pieceBytes: number
  signal: AbortSignal
  /** Called with the number of bytes found on disk, and of each chunk that arrives. */
  onBytes: (count: number) => void
}

/** @returns whether the file at `path` has the right sha256 @throws what the disk refuses, and as Bucket.readRange does */
export async function downloadFile(
  bucket: Bucket,
  { path: key, sizeBytes, sha256, etag }: RemoteFile,
  path: string,
  { streams, pieceBytes, signal: given, onBytes }: DownloadOptions,
): Promise<boolean> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT)
  const { signal, abort, end } = stopWith(given)
  const pieces: { bytes: Buffer; arrived: Promise<void> }[] = []
  try {
    if ((await file.stat()).size > sizeBytes) await file.truncate()
    const hash = createHash('sha256')
    let writtenBytes = 0
    for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) {
      if (signal.aborted) throw interrupted()
      hash.update(chunk)
      writtenBytes += chunk.length
      onBytes(chunk.length)
    }
    // Reused: the system clears fresh memory, which takes as long as copying the piece.
    const buffers: Buffer[] = []
    let from = writtenBytes
    while (writtenBytes < sizeBytes) {
      while (pieces.length < streams && from < sizeBytes) {
        const bytes = (buffers.pop() ?? Buffer.allocUnsafeSlow(pieceBytes)).subarray(0, sizeBytes - from)
        const arrived = bucket.readRange(key, bytes, { from, etag, signal, onBytes })
        arrived.catch(() => {}) // the error surfaces where the piece is awaited
        pieces.push({ bytes, arrived })
        from += bytes.length
      }
      const { bytes, arrived } = pieces[0]!
      await arrived
      hash.update(bytes)
      for (let done = 0; done < bytes.length; ) {
        done += (await file.write(bytes, done, bytes.length - done, writtenBytes + done)).bytesWritten
      }
      writtenBytes += bytes.length
      pieces.shift()
      buffers.push(bytes)
    }
    return hash.digest('hex') === sha256
  } finally {
    abort()
    await Promise.allSettled(pieces.map(({ arrived }) => arrived))
    end()
    await file.close()
  }
}

const STALE_MS = 10_000
const HEARTBEAT_MS = 2_000

/**
 * Locks a folder against other processes and other callers in this one. The lock is a folder beside it, `<folder>.lock`:
 * mkdir has one winner, on network file systems too. Its holder renews the modification time; when that is STALE_MS old, the
 * holder is dead and the next caller gets the lock.
 * @param onLost called when another process got the lock because this one paused for too long
 * @returns the function that releases the lock; undefined while another holds it
 * @throws what the disk refuses
 */
export async function tryLock(
  folder: string,
  onLost: () => void,
): Promise<(() => Promise<void>) | undefined> {
  try {
    const options = { realpath: false, stale: STALE_MS, update: HEARTBEAT_MS, onCompromised: onLost }
    const release = await lock(folder, options)
    return () => release().catch(() => {}) // a lost lock is not this caller's to release
  } catch (error) {
    // ENOENT: two processes removed a stale lock at once, and the other one got it.
    if (['ELOCKED', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}
