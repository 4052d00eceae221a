// `s3://bucket/prefix` -> the folder of the artifact in the local cache, whole and as its manifest says.
//
//   manifest -> sizes and versions -> pieces of files, many at once -> folder
//
// The folder is named after the manifest's own hash: another model is another folder, and going back to one that was
// fetched before costs nothing. What is unfinished lies beside it (partial-download.ts) until it is moved into its place.

import { randomUUID } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MANIFEST, type Manifest } from '../artifact/contract.ts'
import { openArtifact, parseManifest, verifyFiles } from '../artifact/open.ts'
import { diskError, isFileSystemError } from '../builder/destination.ts'
import { forEachLimit } from '../concurrency.ts'
import { ArtifactError, isGlimpseError, SetupError, UpstreamError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { count, setGauge } from '../observe/metrics.ts'
import type { RetryOptions, TransientError } from '../retry.ts'
import { type Bucket, type BucketOptions, openBucket } from '../store/bucket.ts'
import { HOUR_MS } from '../time.ts'
import { openPartial, type PartialDownload, removeAbandoned } from './partial-download.ts'
import { downloadRanges, missing, type RemoteFile, type Streams } from './ranges.ts'

export interface FetchOptions {
  /** Folder of what can be made again: models stand in `models` below it. */
  cacheFolder: string
  /** Bytes that are here, of all of them. Not called for a model that was here before. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void
  /** Another process is at it: this one waits for it. */
  onWait?: () => void
  signal?: AbortSignal
  /** Requests at once, and bytes each asks for. */
  streams?: Partial<Streams>
  /** Milliseconds without a byte until a connection is given up; first wait before another try. */
  stallMs?: number
  retryMs?: number
  /** For the SDK, besides what it finds itself. */
  client?: BucketOptions
}

const MIB = 1024 * 1024
/** One stream from S3 brings about 55 MB/s, so twelve fill what a machine of this kind has. */
const STREAMS: Streams = { count: 12, pieceBytes: 8 * MIB }
const STALL_MS = 10_000
const RETRY_MS = 200
const MAX_MANIFEST_BYTES = 4 * MIB
/** A file that is wrong is fetched so often; a model that is replaced meanwhile, too. */
const MAX_ATTEMPTS = 3
const DAY_MS = 24 * HOUR_MS
/** Models nobody opened for so long are removed when another is fetched. */
const UNUSED_MS = 30 * DAY_MS
const ABANDONED_MS = DAY_MS
/** Notes which files were hashed, as they were then. */
const VERIFIED = '.checked'
const CACHE_SETTING = 'GLIMPSE_CACHE'

/**
 * Throws ArtifactError (`no_artifact`, `damaged_artifact`, `other_format`, `other_onnxruntime`), SetupError (the bucket
 * refuses, the disk is full), UpstreamError `model_unreachable` or `model_replaced`, BusyError `cancelled`.
 * @example await fetchArtifact('s3://models/blip2/2026-11', { cacheFolder: '/var/cache/glimpse' })
 */
export async function fetchArtifact(location: string, options: FetchOptions): Promise<string> {
  const began = performance.now()
  const tries = {
    code: 'model_unreachable' as const,
    signal: options.signal,
    stallMs: options.stallMs ?? STALL_MS,
    retryMs: options.retryMs ?? RETRY_MS,
    onRetry: ({ reason }: TransientError) => countRetry(reason),
  }
  const bucket = modelBucket(location, options.client, tries)
  const models = join(options.cacheFolder, 'models')
  for (let attempt = 1; ; attempt++) {
    try {
      const folder = await fetchOnce(bucket, models, { ...tries, endpoint: bucket.name }, options)
      setGauge('glimpse_model_load_seconds', { step: 'fetch' }, (performance.now() - began) / 1000)
      await touchDaily(folder)
      return folder
    } catch (error) {
      const known = isFileSystemError(error) ? diskError(models, error, CACHE_SETTING) : error
      if (isGlimpseError(known)) count('glimpse_faults_total', { code: known.code })
      if (!isGlimpseError(known) || known.code !== 'model_replaced' || attempt === MAX_ATTEMPTS) throw known
      countRetry('replaced')
    }
  }
}

/** Where models are, as GLIMPSE_MODEL names it. */
export function modelBucket(
  place: string,
  client?: BucketOptions,
  tries?: Omit<RetryOptions, 'endpoint'>,
): Bucket {
  const needs = 'do s3:GetObject and s3:ListBucket there (without the latter S3 refuses what is missing)'
  return openBucket(place, { code: 'model_unreachable', ...tries, setting: 'GLIMPSE_MODEL', needs }, client)
}

async function fetchOnce(
  bucket: Bucket,
  models: string,
  retryOptions: RetryOptions,
  options: FetchOptions,
): Promise<string> {
  const { text, manifest } = await readManifest(bucket)
  const folder = join(models, sha256Hex(text).slice(0, 24))
  if (await isComplete(folder)) return folder
  const streams = { ...STREAMS, ...options.streams }
  const partial = await openPartial(folder, streams.pieceBytes, () => isComplete(folder), options)
  if (!partial) return folder
  try {
    await removeUnused(models)
    const files = await describeFiles(bucket, manifest, streams)
    await checkRoom(partial, files, bucket)
    await fetchFiles(bucket, files, partial, streams, retryOptions, options.onProgress)
    await writeFile(join(partial.folder, MANIFEST), text)
    await recordVerified(partial.folder, manifest)
  } catch (error) {
    // A break is gone on from. What is wrong, or has no room, shall not lie there.
    const isBreak = isGlimpseError(error) && (error.kind === 'upstream' || error.kind === 'busy')
    await (isBreak ? partial.suspend() : partial.remove())
    throw error
  }
  // Another may have been faster, or what stood there was damaged: whole it is in either case.
  if (!(await partial.commit(folder)) && !(await isComplete(folder))) throw replaced(bucket)
  return folder
}

/** Throws ArtifactError `no_artifact`, `damaged_artifact`, `other_onnxruntime`. */
export async function readManifest(bucket: Bucket): Promise<{ text: Uint8Array; manifest: Manifest }> {
  const found = await bucket.read(MANIFEST, MAX_MANIFEST_BYTES)
  if (found) {
    return {
      text: found.bytes,
      manifest: parseManifest(new TextDecoder().decode(found.bytes), bucket.name),
    }
  }
  throw new ArtifactError(
    'no_artifact',
    `Expected an artifact with ${MANIFEST} at ${bucket.name} but nothing is there. Put one there: npx glimpse push <artifact> ${bucket.name}`,
  )
}

/** What is in the bucket must have the sizes the manifest says, before anything large is asked for. */
async function describeFiles(bucket: Bucket, manifest: Manifest, streams: Streams): Promise<RemoteFile[]> {
  const files: RemoteFile[] = []
  await forEachLimit(manifest.files, streams.count, async (file) => {
    const found = await bucket.head(file.path)
    if (!found) throw missing(bucket, file.path)
    if (found.sizeBytes !== file.sizeBytes) {
      throw damaged(bucket, `${file.path} with ${file.sizeBytes} bytes`, `it has ${found.sizeBytes}`)
    }
    files.push({ ...file, etag: found.etag })
  })
  // The largest first, so that the end is not one stream alone.
  return files.sort((a, b) => b.sizeBytes - a.sizeBytes)
}

async function fetchFiles(
  bucket: Bucket,
  files: readonly RemoteFile[],
  partial: PartialDownload,
  streams: Streams,
  retryOptions: RetryOptions,
  onProgress: FetchOptions['onProgress'],
): Promise<void> {
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let doneBytes = 0
  const onBytes = (bytes: number) => {
    doneBytes += bytes
    onProgress?.({ doneBytes, totalBytes })
  }
  let wrong = files
  for (let attempt = 1; wrong.length > 0; attempt++) {
    wrong = await downloadRanges(bucket, wrong, partial, streams, retryOptions, onBytes)
    if (wrong.length > 0 && attempt === MAX_ATTEMPTS) {
      const { path, sha256 } = wrong[0]!
      throw damaged(
        bucket,
        `${path} with the sha256 ${sha256}`,
        `${MAX_ATTEMPTS} times something else arrived`,
      )
    }
    for (const { path, sizeBytes } of wrong) {
      countRetry('checksum')
      onBytes(-sizeBytes)
      await partial.dropFile(path)
    }
  }
}

/** Throws SetupError `disk_full`. */
async function checkRoom(
  partial: PartialDownload,
  files: readonly RemoteFile[],
  bucket: Bucket,
): Promise<void> {
  const sizes = await Promise.all(
    files.map(async ({ path, sizeBytes }) => {
      // Of a file that an earlier run began, what it takes up is not needed again.
      const blocks = (await stat(join(partial.folder, path)).catch(() => undefined))?.blocks ?? 0
      return Math.max(0, sizeBytes - 512 * blocks)
    }),
  )
  const wanted = sizes.reduce((sum, size) => sum + size, 0)
  const disk = await statfs(partial.folder).catch(() => undefined)
  if (!disk || disk.bavail * disk.bsize >= wanted) return
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`
  throw new SetupError(
    'disk_full',
    `Expected ${megabytes(wanted)} of room in ${dirname(partial.folder)} for the model ${bucket.name} but the disk has ${megabytes(disk.bavail * disk.bsize)}. Make room, or give another ${CACHE_SETTING}.`,
  )
}

/**
 * Whether the artifact stands there and is what was fetched. Files that changed since they were hashed, or that a
 * machine which went down may not have written out, are hashed anew. A folder that is damaged is removed.
 */
async function isComplete(folder: string): Promise<boolean> {
  if (!(await stat(folder).catch(() => undefined))) return false
  try {
    const manifest = await openArtifact(folder)
    if ((await readVerified(folder)) !== (await stateOf(folder, manifest))) {
      await verifyFiles(folder, manifest)
      await recordVerified(folder, manifest).catch(() => {}) // a read-only cache serves as well
    }
    return true
  } catch (error) {
    if (!isGlimpseError(error)) throw error
    // Renamed first: another process must not see half of it.
    const aside = `${folder}.old-${randomUUID()}`
    if (
      await rename(folder, aside).then(
        () => true,
        () => false,
      )
    )
      await rm(aside, { recursive: true, force: true })
    return false
  }
}

async function recordVerified(folder: string, manifest: Manifest): Promise<void> {
  await writeFile(join(folder, VERIFIED), await stateOf(folder, manifest))
}

async function readVerified(folder: string): Promise<string> {
  return await readFile(join(folder, VERIFIED), 'utf8').catch(() => '')
}

/** When each file was last written, and in which run of the machine: what is not on disk yet a crash of it takes away. */
async function stateOf(folder: string, manifest: Manifest): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => randomUUID())
  const times = await Promise.all(
    manifest.files.map(async ({ path }) => [path, (await stat(join(folder, path))).mtimeMs]),
  )
  return JSON.stringify([boot.trim(), times])
}

async function removeUnused(models: string): Promise<void> {
  await removeAbandoned(models, ABANDONED_MS)
  for (const name of await readdir(models)) {
    const path = join(models, name)
    const info = await stat(path).catch(() => undefined)
    if (name.includes('.partial-') || !info || Date.now() - info.mtimeMs <= UNUSED_MS) continue
    await rm(path, { recursive: true, force: true })
  }
}

/** A model that a process has opened is not one that nobody uses. */
async function touchDaily(folder: string): Promise<void> {
  const touch = async () => {
    const now = new Date()
    await utimes(folder, now, now).catch(() => {})
  }
  setInterval(() => void touch(), DAY_MS).unref()
  await touch()
}

function countRetry(reason: string): void {
  count('glimpse_model_retries_total', { reason })
}

function damaged(bucket: Bucket, expected: string, came: string): ArtifactError {
  return new ArtifactError(
    'damaged_artifact',
    `Expected ${expected} in ${bucket.name} but ${came}. Push the artifact again: npx glimpse push <artifact> ${bucket.name}`,
  )
}

function replaced(bucket: Bucket): UpstreamError {
  return new UpstreamError(
    'model_replaced',
    `Expected the folder of ${bucket.name} to stay but another process moved it. Try again.`,
  )
}
