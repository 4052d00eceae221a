// An artifact's folder -> the same files at `s3://bucket/prefix`, where GLIMPSE_MODEL finds them.
//
//   folder, checked -> what is there already -> files, in parts -> manifest
//
// The manifest comes last: until it is there nobody takes what is there for a model.

import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MANIFEST, type Manifest } from '../artifact/contract.ts'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import { forEachLimit } from '../concurrency.ts'
import { ArtifactError, SetupError } from '../errors.ts'
import { interrupted } from '../retry.ts'
import { type Bucket, type BucketOptions, openBucket, type UploadPart } from '../store/bucket.ts'

export interface PushOptions {
  /** Put it in the place of another model. Meanwhile no model is there. */
  replace?: boolean
  /** Bytes that are there, of all of them. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void
  signal?: AbortSignal
  /** Requests at once, and bytes in each: 5 MiB or more. */
  streams?: { count: number; partBytes: number }
  /** For the SDK, besides what it finds itself. */
  client?: BucketOptions
}

type ArtifactFile = Manifest['files'][number]

export interface Pushed {
  manifest: Manifest
  sentBytes: number
  /** Files that were there already. */
  skipped: string[]
}

const MIB = 1024 * 1024
/** S3 takes 10,000 parts at most, so this holds for files of 160 GB. */
const STREAMS = { count: 8, partBytes: 16 * MIB }
/** S3 may take that long to put a large file together. */
const SILENT_MS = 60_000
const RETRY_MS = 500
/** Name of the file's sha256 among the object's metadata. */
const SHA256 = 'sha256'

/**
 * Throws ArtifactError where the folder is not what its manifest says, SetupError `destination_taken` or what the bucket
 * refuses, UpstreamError `push_failed`, BusyError `cancelled`. Whatever breaks it off, the same call goes on from there.
 */
export async function pushArtifact(
  folder: string,
  location: string,
  options: PushOptions = {},
): Promise<Pushed> {
  const manifest = await openArtifact(folder)
  await verifyFiles(folder, manifest)
  const text = await readFile(join(folder, MANIFEST))
  const purpose = {
    setting: 'the address',
    needs:
      'do s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload there, and s3:ListBucket',
    code: 'push_failed' as const,
    stallMs: SILENT_MS,
    retryMs: RETRY_MS,
    signal: options.signal,
  }
  const bucket = openBucket(location, purpose, options.client)
  return await send(folder, manifest, text, bucket, options)
}

async function send(
  folder: string,
  manifest: Manifest,
  text: Buffer,
  bucket: Bucket,
  options: PushOptions,
): Promise<Pushed> {
  const isDone = await checkPlace(bucket, text, options.replace === true)
  const totalBytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const skipped: string[] = []
  let doneBytes = 0
  let sentBytes = 0
  const onBytes = (bytes: number) => {
    doneBytes += bytes
    options.onProgress?.({ doneBytes, totalBytes })
  }
  for (const file of manifest.files) {
    if (await isThere(bucket, file)) {
      skipped.push(file.path)
      onBytes(file.sizeBytes)
      continue
    }
    await sendFile(bucket, folder, file, options, onBytes)
    sentBytes += file.sizeBytes
  }
  if (!isDone && (await bucket.put(MANIFEST, text, { isNew: true })) === undefined) throw taken(bucket)
  return { manifest, sentBytes, skipped }
}

/** Whether this very manifest is there. One of another model is removed first, if it is to be replaced. */
async function checkPlace(bucket: Bucket, text: Buffer, replace: boolean): Promise<boolean> {
  const found = await bucket.read(MANIFEST)
  if (!found) return false
  if (text.equals(found.bytes)) return true
  if (!replace) throw taken(bucket)
  await bucket.remove(MANIFEST)
  return false
}

async function isThere(bucket: Bucket, { path, sizeBytes, sha256 }: ArtifactFile): Promise<boolean> {
  const found = await bucket.head(path)
  return found?.sizeBytes === sizeBytes && found.metadata[SHA256] === sha256
}

async function sendFile(
  bucket: Bucket,
  folder: string,
  file: ArtifactFile,
  { streams = STREAMS, signal }: PushOptions,
  onBytes: (count: number) => void,
): Promise<void> {
  const { path, sizeBytes, sha256 } = file
  const metadata = { [SHA256]: sha256 }
  if (sizeBytes <= streams.partBytes) {
    await bucket.put(path, await readFile(join(folder, path)), { metadata })
    return onBytes(sizeBytes)
  }
  const handle = await open(join(folder, path))
  const upload = await bucket.beginParts(path, metadata)
  try {
    const numbers = Array.from({ length: Math.ceil(sizeBytes / streams.partBytes) }, (_, i) => i)
    const parts: UploadPart[] = []
    await forEachLimit(numbers, streams.count, async (i, stop) => {
      if (signal?.aborted) throw interrupted()
      const from = i * streams.partBytes
      const bytes = Buffer.allocUnsafe(Math.min(streams.partBytes, sizeBytes - from))
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, from)
      if (bytesRead < bytes.length) throw changed(folder, path)
      parts[i] = await bucket.putPart(path, upload, i + 1, bytes, stop)
      onBytes(bytes.length)
    })
    await bucket.completeParts(path, upload, parts)
  } catch (error) {
    // Parts of what never became an object are paid for until they are removed.
    await bucket.abortParts(path, upload).catch(() => {})
    // Of the last request only the answer may have been lost.
    if (!(await isThere(bucket, file).catch(() => false))) throw error
  } finally {
    await handle.close()
  }
}

function taken(bucket: Bucket): SetupError {
  return new SetupError(
    'destination_taken',
    `Expected nothing or the same model at ${bucket.name} but another model is there. Push to a new prefix, so that whoever runs that one can go on, or give --replace.`,
  )
}

function changed(folder: string, path: string): ArtifactError {
  return new ArtifactError(
    'damaged_artifact',
    `Expected ${path} in ${folder} to stay as it is while it is pushed but it became shorter. Push it again when nothing else writes there.`,
  )
}
