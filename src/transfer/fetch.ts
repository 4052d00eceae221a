// `s3://bucket/prefix` -> the folder of the artifact in the local cache, complete and verified.
//
//   manifest -> sizes and versions of the files -> <hash>.partial, file by file -> rename to <hash>
//
// The folder is named after the sha256 of its manifest: another model is another folder, a model fetched before costs one
// request, and the files of a .partial folder belong to no other version.

import { randomUUID } from 'node:crypto'
import { readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MANIFEST, type Manifest } from '../artifact/contract.ts'
import { openArtifact, parseManifest, recordVerified, verifyOnce } from '../artifact/open.ts'
import { asDiskError, checkRoom, makeFolder } from '../builder/destination.ts'
import { ArtifactError, isGlimpseError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { count, setGauge } from '../observe/metrics.ts'
import { interrupted, type RetryOptions, type TransientError } from '../retry.ts'
import { stopWith } from '../stop.ts'
import { S3Error } from '../store/answers.ts'
import { type Bucket, type BucketOptions, openBucket } from '../store/bucket.ts'
import { HOUR_MS } from '../time.ts'
import { downloadFile, type RemoteFile, tryLock } from './download.ts'

export interface FetchOptions {
  /** GLIMPSE_CACHE. Models are in its folder `models`. */
  cacheFolder: string
  /** Not called for a model that was fetched before. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void
  /** Called repeatedly while another process fetches the same model. */
  onWait?: () => void
  signal?: AbortSignal
  /** Requests at once, default 16, and bytes per request, default 8 MiB. */
  streams?: { count?: number; pieceBytes?: number }
  client?: BucketOptions
}

const MIB = 1024 * 1024
/** One stream from S3 brings about 55 MB/s. */
const STREAMS = { count: 16, pieceBytes: 8 * MIB }
const POLL_MS = 200
const MAX_MANIFEST_BYTES = 4 * MIB
/** Per file with a wrong sha256, and per model that is replaced while it is fetched. */
const MAX_ATTEMPTS = 3
const DAY_MS = 24 * HOUR_MS
/** Models that no process opened for so long are removed when another one is fetched. */
const UNUSED_MS = 30 * DAY_MS
const ABANDONED_MS = DAY_MS
const CACHE_SETTING = 'GLIMPSE_CACHE'

/**
 * Returns the artifact's folder. An interrupted download continues behind the bytes on disk.
 * @throws ArtifactError `no_artifact`, `damaged_artifact`, `other_format`, `other_onnxruntime`; SetupError when the bucket
 * or the disk refuses; UpstreamError `model_unreachable`, `model_replaced`; BusyError `cancelled`
 * @example await fetchArtifact('s3://models/blip2/2026-11', { cacheFolder: '/var/cache/glimpse' })
 */
export async function fetchArtifact(location: string, options: FetchOptions): Promise<string> {
  const startMs = performance.now()
  const { signal, client } = options
  const onRetry = ({ reason }: TransientError) => countRetry(reason)
  const bucket = modelBucket(location, client, { signal, onRetry })
  const models = join(options.cacheFolder, 'models')
  for (let attempt = 1; ; attempt++) {
    try {
      const folder = await fetchOnce(bucket, models, options)
      setGauge('glimpse_model_load_seconds', { step: 'fetch' }, (performance.now() - startMs) / 1000)
      setInterval(() => void touch(folder), DAY_MS).unref()
      await touch(folder)
      return folder
    } catch (error) {
      const known = asDiskError(error, models, CACHE_SETTING)
      if (isGlimpseError(known)) count('glimpse_faults_total', { code: known.code })
      if (!isGlimpseError(known) || known.code !== 'model_replaced' || attempt === MAX_ATTEMPTS) throw known
      countRetry('replaced')
    }
  }
}

/** The bucket that GLIMPSE_MODEL names. @throws SetupError `bad_place` */
export function modelBucket(
  location: string,
  client?: BucketOptions,
  tries?: Pick<RetryOptions, 'signal' | 'onRetry'>,
): Bucket {
  const needs = 'do s3:GetObject and s3:ListBucket there (without the latter S3 refuses what is missing)'
  const purpose = { ...tries, code: 'model_unreachable' as const, setting: 'GLIMPSE_MODEL', needs }
  return openBucket(location, purpose, client)
}

async function fetchOnce(bucket: Bucket, models: string, options: FetchOptions): Promise<string> {
  const { text, manifest } = await readManifest(bucket)
  const folder = join(models, sha256Hex(text).slice(0, 24))
  const partial = `${folder}.partial`
  while (!(await isComplete(folder))) {
    if (options.signal?.aborted) throw interrupted()
    await makeFolder(models)
    const stop = stopWith(options.signal)
    const release = await tryLock(partial, stop.abort)
    if (!release) {
      stop.end()
      options.onWait?.()
      await sleep(POLL_MS)
      continue
    }
    try {
      // The last holder of the lock may have completed the folder.
      if (await isComplete(folder)) break
      await makeFolder(partial)
      await touch(partial)
      await removeUnused(models)
      await fill(partial, bucket, manifest, stop.signal, options)
      await writeFile(join(partial, MANIFEST), text)
      await recordVerified(partial, manifest)
      await rename(partial, folder)
      break
    } catch (error) {
      // The lock was lost: another process continues, or has completed the folder.
      if (await isComplete(folder)) break
      if (stop.signal.aborted && !options.signal?.aborted) throw replaced(bucket, error)
      // Bytes are kept after an interruption, but not on a full disk or of a damaged artifact.
      const isResumable = isGlimpseError(error) && (error.kind === 'upstream' || error.kind === 'busy')
      if (!isResumable) await rm(partial, { recursive: true, force: true })
      throw error instanceof S3Error ? replaced(bucket, error) : error
    } finally {
      stop.end()
      await release()
    }
  }
  return folder
}

/** @throws ArtifactError `no_artifact`, `damaged_artifact`, `other_format`, `other_onnxruntime` */
export async function readManifest(bucket: Bucket): Promise<{ text: Uint8Array; manifest: Manifest }> {
  const found = await bucket.read(MANIFEST, MAX_MANIFEST_BYTES)
  if (found) {
    const manifest = parseManifest(new TextDecoder().decode(found.bytes), bucket.name)
    return { text: found.bytes, manifest }
  }
  const message = `Expected an artifact with ${MANIFEST} at ${bucket.name} but nothing is there. Put one there: npx glimpse push <artifact> ${bucket.name}`
  throw new ArtifactError('no_artifact', message)
}

async function fill(
  partial: string,
  bucket: Bucket,
  manifest: Manifest,
  signal: AbortSignal,
  options: FetchOptions,
): Promise<void> {
  const { count: streams, pieceBytes } = { ...STREAMS, ...options.streams }
  const files = await describeFiles(bucket, manifest)
  const present = await Promise.all(
    files.map(async ({ path }) => (await stat(join(partial, path)).catch(() => undefined))?.size ?? 0),
  )
  const neededBytes = files.reduce((sum, { sizeBytes }, i) => sum + Math.max(0, sizeBytes - present[i]!), 0)
  await checkRoom(partial, neededBytes, `${partial}, the model ${bucket.name},`, CACHE_SETTING)
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let doneBytes = 0
  const onBytes = (bytes: number) => {
    doneBytes += bytes
    options.onProgress?.({ doneBytes, totalBytes })
  }
  for (const file of files) {
    const path = join(partial, file.path)
    for (let attempt = 1; ; attempt++) {
      if (await downloadFile(bucket, file, path, { streams, pieceBytes, signal, onBytes })) break
      if (attempt === MAX_ATTEMPTS) {
        const expected = `${file.path} with the sha256 ${file.sha256}`
        throw damaged(bucket, expected, `${MAX_ATTEMPTS} times something else arrived`)
      }
      countRetry('checksum')
      onBytes(-file.sizeBytes)
      await rm(path)
    }
  }
}

/** Compares the sizes in the bucket with the manifest before anything large is requested. */
async function describeFiles(bucket: Bucket, manifest: Manifest): Promise<RemoteFile[]> {
  const describe = async (file: Manifest['files'][number]) => {
    const { path, sizeBytes } = file
    const found = await bucket.head(path)
    if (!found) throw damaged(bucket, path, 'it is missing')
    if (found.sizeBytes === sizeBytes) return { ...file, etag: found.etag }
    throw damaged(bucket, `${path} with ${sizeBytes} bytes`, `it has ${found.sizeBytes}`)
  }
  return await Promise.all(manifest.files.map(describe))
}

/**
 * Whether the folder holds the artifact that was fetched. Files are hashed again if they changed since the last time, or if
 * the machine was restarted: it may have lost bytes it had not written out. A damaged folder is removed.
 */
async function isComplete(folder: string): Promise<boolean> {
  if (!(await stat(folder).catch(() => undefined))) return false
  try {
    const manifest = await openArtifact(folder)
    await verifyOnce(folder, manifest)
    return true
  } catch (error) {
    if (!isGlimpseError(error)) throw error
    // Renamed first: another process must not see half of it. Where that fails, another process has done it.
    const removed = `${folder}.old-${randomUUID()}`
    await rename(folder, removed).catch(() => {})
    await rm(removed, { recursive: true, force: true })
    return false
  }
}

/** Removes models that were not used, and downloads that were not continued. A lock in use is renewed, so it stays. */
async function removeUnused(models: string): Promise<void> {
  for (const name of await readdir(models)) {
    const path = join(models, name)
    const info = await stat(path).catch(() => undefined)
    const limitMs = name.includes('.partial') ? ABANDONED_MS : UNUSED_MS
    if (info && Date.now() - info.mtimeMs > limitMs) await rm(path, { recursive: true, force: true })
  }
}

/** Keeps removeUnused from removing the folder. */
async function touch(folder: string): Promise<void> {
  const now = new Date()
  await utimes(folder, now, now).catch(() => {})
}

function countRetry(reason: string): void {
  count('glimpse_model_retries_total', { reason })
}

function replaced(bucket: Bucket, cause: unknown): UpstreamError {
  const message = `The files of ${bucket.name} were replaced while they were fetched, or another process took over the download. Try again, and push each version to a prefix of its own.`
  return new UpstreamError('model_replaced', message, { cause })
}

function damaged(bucket: Bucket, expected: string, actual: string): ArtifactError {
  const message = `Expected ${expected} in ${bucket.name} but ${actual}. Push the artifact again: npx glimpse push <artifact> ${bucket.name}`
  return new ArtifactError('damaged_artifact', message)
}
