// Settings -> findings about the places Glimpse writes to: cache, state and uploads. What a check writes, it removes.

import { randomUUID } from 'node:crypto'
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { megabytes } from '../units.ts'
import { unexpected } from './check.ts'

/** Prepacked weights hold each weight twice, and some in float32 (run/prepacked.ts). */
const PREPACK_FACTOR = 2.5
const TEST_TTL_MS = 60_000

/** @param isPrepacked whether the model is large enough to be prepacked (GLIMPSE_PREPACK_FROM_MB) */
export async function checkCache(
  folder: string,
  modelBytes: number | undefined,
  isPrepacked: boolean,
): Promise<Finding> {
  const file = join(folder, `.doctor-${randomUUID()}`)
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(file, '')
  } catch (error) {
    return warn(
      `cannot write to ${folder} (${(error as NodeJS.ErrnoException).code})`,
      'Set GLIMPSE_CACHE to a writable folder. Without it the embedded model cannot be built, and large models open slowly.',
    )
  } finally {
    await rm(file, { force: true }).catch(() => {})
  }
  const { bavail, bsize } = await statfs(folder)
  const freeBytes = bavail * bsize
  const neededBytes = (modelBytes ?? 0) * (isPrepacked ? PREPACK_FACTOR : 1)
  const found = `${folder} is writable, ${megabytes(freeBytes)} free`
  if (freeBytes >= neededBytes) return ok(found)
  return warn(
    found,
    `Free ${megabytes(neededBytes)}. Without room for the prepacked weights the model opens slowly.`,
  )
}

/**
 * The store has the conditional writes of chats: one create of a key succeeds, only a current version is replaced.
 * Without chats a failure is a warning: the store then holds answers by their Idempotency-Key only.
 */
export async function checkState(
  location: string,
  hasChats = true,
  open: (location: string) => Promise<Store> = openStore,
): Promise<Finding> {
  const key = `doctor/${randomUUID()}`
  const check = async (store: Store) => {
    const first = await store.create(key, Buffer.from('1'), TEST_TTL_MS)
    const second = await store.create(key, Buffer.from('2'), TEST_TTL_MS)
    const stale = await store.replace(key, Buffer.from('3'), TEST_TTL_MS, '"0"')
    const read = await store.read(key)
    if (first === undefined || read === undefined)
      return fail(`${location} does not return what was written`, 'Set GLIMPSE_STATE to another place.')
    if (second === undefined && stale === undefined)
      return ok(`${location} is writable and has conditional writes`)
    return fail(
      `${location} ignores the conditions of conditional writes`,
      'Use a bucket of AWS S3, or of a server that supports If-None-Match and If-Match. Otherwise questions are answered twice.',
    )
  }
  const finding = await open(location)
    .then((store) => check(store).finally(() => store.remove(key)))
    .catch(unexpected)
  if (finding.status !== 'fail' || hasChats) return finding
  const todo = 'Set GLIMPSE_STATE, or each process keeps answers by their Idempotency-Key for itself.'
  return warn(finding.found, todo)
}

/**
 * The bucket exists and this role may use it. s3:PutObject is not tested: only an upload does that.
 * @throws SetupError if the setting or the bucket is wrong
 */
export async function checkUploads(location: string): Promise<Finding> {
  if (location === '') return skipped('GLIMPSE_UPLOADS is not set')
  // Imported on use: the SDK takes a while to load.
  const { openBucket } = await loadPart('GLIMPSE_UPLOADS', S3_PACKAGES, () => import('../store/bucket.ts'))
  await openBucket(location, { setting: 'GLIMPSE_UPLOADS', code: 'uploads_failed' }).check()
  return ok(`${location} exists`)
}
