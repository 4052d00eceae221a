// An artifact's folder -> the same files at `s3://bucket/prefix`, which GLIMPSE_MODEL then names.
//
//   folder, verified -> files that the bucket lacks -> manifest
//
// The manifest is written last: without it nothing in the bucket counts as a model.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MANIFEST, type Manifest } from '../artifact/contract.ts'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import { ArtifactError, isGlimpseError, SetupError } from '../errors.ts'
import { type Bucket, type BucketOptions, openBucket } from '../store/bucket.ts'

export interface PushOptions {
  /** Replace another model. Until the push is complete, the prefix holds no model. */
  replace?: boolean
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void
  signal?: AbortSignal
  /** Parts sent at once, default 8, and bytes per part, default 16 MiB. */
  streams?: { count: number; partBytes: number }
  client?: BucketOptions
}

type ArtifactFile = Manifest['files'][number]

const MIB = 1024 * 1024
/** S3 takes 10,000 parts at most, so files may have 160 GB. */
const STREAMS = { count: 8, partBytes: 16 * MIB }
/** S3 may take that long to assemble a large file. */
const STALL_MS = 60_000
/** The waits before the last attempt are 15 to 31 s in all: an outage of S3 of 15 s does not end a push. */
const RETRY_MS = 1_000
/** Metadata key of the file's sha256. */
const SHA256 = 'sha256'

/**
 * Sends the files that the bucket does not have with the same size and sha256, so a second call resumes.
 * Returns the manifest, the bytes sent, and in `skipped` the files that the bucket had already.
 * @throws ArtifactError when the folder does not match its manifest; SetupError `destination_taken` or a refusal of the
 * bucket; UpstreamError `push_failed`; BusyError `cancelled`
 */
export async function pushArtifact(folder: string, location: string, options: PushOptions = {}) {
  const manifest = await openArtifact(folder)
  await verifyFiles(folder, manifest)
  const text = await readFile(join(folder, MANIFEST))
  const purpose = {
    setting: 'the address',
    needs:
      'do s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload there, and s3:ListBucket',
    code: 'push_failed' as const,
    stallMs: STALL_MS,
    retryMs: RETRY_MS,
    signal: options.signal,
  }
  const bucket = openBucket(location, purpose, options.client)
  const hasManifest = await checkPlace(bucket, text, options.replace === true)
  const totalBytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const skipped: string[] = []
  let doneBytes = 0
  let sentBytes = 0
  const onBytes = (bytes: number) => {
    doneBytes += bytes
    options.onProgress?.({ doneBytes, totalBytes })
  }
  const send = async (file: ArtifactFile): Promise<void> => {
    const upload = { ...(options.streams ?? STREAMS), metadata: { [SHA256]: file.sha256 }, onBytes }
    const sent = bucket.upload(file.path, join(folder, file.path), upload)
    const cause = await sent.catch((error: unknown) => error)
    // After a failure too: only the answer to the last request may have been lost.
    const isThere = isUploaded(bucket, file)
    if (cause === undefined ? await isThere : await isThere.catch(() => false)) return
    if (isGlimpseError(cause)) throw cause
    const message = `${file.path} in ${folder} changed while it was pushed. Push it again when no other program writes to it.`
    throw new ArtifactError('damaged_artifact', message, { cause })
  }
  for (const file of manifest.files) {
    if (await isUploaded(bucket, file)) {
      skipped.push(file.path)
      onBytes(file.sizeBytes)
    } else {
      await send(file)
      sentBytes += file.sizeBytes
    }
  }
  if (!hasManifest && (await bucket.put(MANIFEST, text, { isNew: true })) === undefined) throw taken(bucket)
  return { manifest, sentBytes, skipped }
}

/** Returns whether the bucket has this manifest. With `replace`, that of another model is removed. */
async function checkPlace(bucket: Bucket, text: Buffer, replace: boolean): Promise<boolean> {
  const found = await bucket.read(MANIFEST)
  if (!found) return false
  if (text.equals(found.bytes)) return true
  if (!replace) throw taken(bucket)
  await bucket.remove(MANIFEST)
  return false
}

async function isUploaded(bucket: Bucket, { path, sizeBytes, sha256 }: ArtifactFile): Promise<boolean> {
  const found = await bucket.head(path)
  return found?.sizeBytes === sizeBytes && found.metadata[SHA256] === sha256
}

function taken(bucket: Bucket): SetupError {
  const message = `Expected nothing or the same model at ${bucket.name} but another model is there. Push to a new prefix, so that servers can still load the other one, or give --replace.`
  return new SetupError('destination_taken', message)
}
