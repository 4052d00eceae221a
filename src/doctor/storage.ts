// Where Glimpse writes: the cache, and the state that chats are kept in. Each is tried, and what was tried is removed.

import { randomUUID } from 'node:crypto'
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isGlimpseError } from '../errors.ts'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { openUploads } from '../serve/s3-uploads.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'

/** A layout holds the weights twice, and somewhat more in float32 (run/prepacked.ts). */
const PREPACK_FACTOR = 2.5
const TRIAL_TTL_MS = 60_000

/** @param modelBytes of the artifact; @param isPrepacked whether it is large enough to get a layout */
export async function checkCache(
  folder: string,
  modelBytes: number | undefined,
  isPrepacked: boolean,
): Promise<Finding> {
  const trial = join(folder, `.doctor-${randomUUID()}`)
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(trial, '')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return warn(
      `${folder} cannot be written (${code})`,
      'Set GLIMPSE_CACHE to a folder that can: without it the embedded model cannot be built, and large ones open slowly.',
    )
  } finally {
    await rm(trial, { force: true }).catch(() => {})
  }
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  const wanted = (modelBytes ?? 0) * (isPrepacked ? PREPACK_FACTOR : 1)
  const found = `${folder} can be written, ${Math.round(free / 1e6)} MB free`
  if (free >= wanted) return ok(found)
  return warn(
    found,
    `Make room for ${Math.round(wanted / 1e6)} MB: the model's layout for this processor does not fit, so it opens slowly.`,
  )
}

/** The store does what chats rely on: of two who create one wins, and nobody replaces what he has not read. */
export async function checkState(
  location: string,
  open: (location: string) => Promise<Store> = openStore,
): Promise<Finding> {
  const key = `doctor/${randomUUID()}`
  try {
    const store = await open(location)
    try {
      const first = await store.create(key, Buffer.from('1'), TRIAL_TTL_MS)
      const second = await store.create(key, Buffer.from('2'), TRIAL_TTL_MS)
      const stale = await store.replace(key, Buffer.from('3'), TRIAL_TTL_MS, '"0"')
      const read = await store.read(key)
      if (first === undefined || read === undefined)
        return fail(`${location} does not give back what was written`, 'Set GLIMPSE_STATE to another place.')
      if (second !== undefined || stale !== undefined)
        return fail(
          `${location} does not keep to conditional writes`,
          'Use a bucket of S3 itself, or of a server that knows If-None-Match and If-Match: questions would be answered twice.',
        )
      return ok(`${location} can be written, and of two who write at once one wins`)
    } finally {
      await store.remove(key)
    }
  } catch (error) {
    if (!isGlimpseError(error)) throw error
    return fail(error.message)
  }
}

/** There, and may be asked for: what is put in needs s3:PutObject and is tried by an upload only. */
export async function checkUploads(location: string): Promise<Finding> {
  if (location === '') return skipped('GLIMPSE_UPLOADS is not set')
  try {
    // As the server opens it: what it throws says what to set.
    openUploads(location)
    // Only here: the SDK takes a while to load.
    const { openBucket } = await import('../store/bucket.ts')
    await openBucket(location, { setting: 'GLIMPSE_UPLOADS', code: 'uploads_failed' }).check()
    return ok(`${location} is there`)
  } catch (error) {
    if (!isGlimpseError(error)) throw error
    return fail(error.message)
  }
}
