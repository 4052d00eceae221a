// `s3://bucket/prefix` -> what is done there with objects of any size: parts of them read, parts of them written,
// addresses that take one without a key. Each call is one request; whoever calls knows what can be tried again.
//
// Credentials, region and endpoint come the SDK's usual ways: AWS_REGION, AWS_ENDPOINT_URL_S3, roles and profiles.

import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { SetupError } from '../errors.ts'
import { Passing, retryAfterMs } from '../tries.ts'

export type BucketOptions = S3ClientConfig

export interface Described {
  sizeBytes: number
  etag: string
  /** Milliseconds since 1970. */
  modifiedMs: number
  metadata: Record<string, string>
}

export interface Arriving {
  etag: string
  /** Where the body begins in the object. */
  from: number
  body: Readable
}

export interface Part {
  number: number
  etag: string
  checksum?: string
}

export interface Bucket {
  /** `s3://bucket/prefix`, for messages. */
  readonly name: string
  head(key: string, signal?: AbortSignal): Promise<Described>
  /**
   * Bytes `from` to before `to`; of a version with this etag alone, if one is named. The whole of an object ends in an
   * error where it is not what S3's own checksum says.
   */
  get(key: string, range: Range, signal?: AbortSignal): Promise<Arriving>
  /** `isNew`: only where nothing is. */
  put(
    key: string,
    bytes: Uint8Array,
    given?: { metadata?: Record<string, string>; isNew?: boolean },
  ): Promise<void>
  remove(key: string): Promise<void>
  /** A large object in parts; all but the last have at least 5 MiB. */
  beginParts(key: string, metadata: Record<string, string>): Promise<string>
  putPart(key: string, upload: string, number: number, bytes: Uint8Array, signal?: AbortSignal): Promise<Part>
  completeParts(key: string, upload: string, parts: readonly Part[]): Promise<void>
  abortParts(key: string, upload: string): Promise<void>
  /** An address that takes exactly so many bytes by PUT, for a while. */
  addressFor(key: string, sizeBytes: number, seconds: number): Promise<string>
}

interface Range {
  from?: number
  to?: number
  etag?: string
}

/** What became of a request, as far as it changes what to do next. */
export type Trouble = 'missing' | 'changed' | 'range' | 'refused' | 'no_bucket'

/** S3 said no, and will say so again. */
export class BucketRefusal extends Error {
  readonly trouble: Trouble

  constructor(trouble: Trouble, message: string, cause: unknown) {
    super(message, { cause })
    this.trouble = trouble
  }
}

const CONNECT_MS = 5_000
const SILENT_MS = 60_000

/**
 * Every call throws BucketRefusal, or Passing where another try may mend it. `maxAttempts`: how often the SDK itself
 * tries; a body that breaks halfway it leaves to us. Throws SetupError `bad_place`.
 */
export function openBucket(place: string, setting: string, options: BucketOptions = {}): Bucket {
  const { bucket: Bucket, prefix } = placeOf(place, setting)
  const client = new S3Client({
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENT_MS },
    // Of a part of an object S3 has no checksum.
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...options,
  })
  // A checksum of nothing would be signed into the address otherwise, and no body fits it.
  const signer = new S3Client({ ...options, requestChecksumCalculation: 'WHEN_REQUIRED' })
  const at = (key: string) => ({ Bucket, Key: `${prefix}${key}` })
  return {
    name: place.replace(/\/+$/, ''),
    async head(key, abortSignal) {
      const found = await client.send(new HeadObjectCommand(at(key)), { abortSignal }).catch(rethrow)
      return {
        sizeBytes: found.ContentLength!,
        etag: found.ETag!,
        modifiedMs: found.LastModified?.getTime() ?? 0,
        metadata: found.Metadata ?? {},
      }
    },
    async get(key, { from = 0, to, etag }, abortSignal) {
      const Range =
        from > 0 || to !== undefined ? `bytes=${from}-${to === undefined ? '' : to - 1}` : undefined
      const command = new GetObjectCommand({
        ...at(key),
        Range,
        IfMatch: etag,
        ChecksumMode: Range === undefined ? 'ENABLED' : undefined,
      })
      const got = await client.send(command, { abortSignal }).catch(rethrow)
      // Told by Content-Range; a server that knows no ranges sends all.
      const begins = /^bytes (\d+)-/.exec(got.ContentRange ?? '')?.[1]
      return { etag: got.ETag!, from: begins === undefined ? 0 : Number(begins), body: got.Body as Readable }
    },
    async put(key, bytes, { metadata, isNew } = {}) {
      const condition = isNew ? { IfNoneMatch: '*' } : {}
      const command = new PutObjectCommand({ ...at(key), Body: bytes, Metadata: metadata, ...condition })
      await client.send(command).catch(rethrow)
    },
    async remove(key) {
      await client.send(new DeleteObjectCommand(at(key))).catch(rethrow)
    },
    async beginParts(key, Metadata) {
      const command = new CreateMultipartUploadCommand({ ...at(key), Metadata, ChecksumAlgorithm: 'CRC32' })
      return (await client.send(command).catch(rethrow)).UploadId!
    },
    async putPart(key, UploadId, PartNumber, Body, abortSignal) {
      const part = { ...at(key), UploadId, PartNumber, Body, ChecksumAlgorithm: 'CRC32' as const }
      const { ETag, ChecksumCRC32 } = await client
        .send(new UploadPartCommand(part), { abortSignal })
        .catch(rethrow)
      return { number: PartNumber, etag: ETag!, checksum: ChecksumCRC32 }
    },
    async completeParts(key, UploadId, parts) {
      const Parts = parts.map(({ number, etag, checksum }) => ({
        PartNumber: number,
        ETag: etag,
        ChecksumCRC32: checksum,
      }))
      const command = { ...at(key), UploadId, MultipartUpload: { Parts } }
      await client.send(new CompleteMultipartUploadCommand(command)).catch(rethrow)
    },
    async abortParts(key, UploadId) {
      await client.send(new AbortMultipartUploadCommand({ ...at(key), UploadId })).catch(rethrow)
    },
    addressFor: (key, ContentLength, expiresIn) =>
      getSignedUrl(signer, new PutObjectCommand({ ...at(key), ContentLength }), { expiresIn }).catch(rethrow),
  }
}

/** What the operator must look at when S3 will not have it: `setting` names the place. */
export function setupError(error: BucketRefusal, bucket: Bucket, setting: string, doing: string): SetupError {
  const todo =
    error.trouble === 'no_bucket'
      ? `Check the bucket's name in ${setting}, and AWS_REGION.`
      : `Check the credentials, AWS_REGION, the bucket's name, and that the role may ${doing}.`
  const code = error.trouble === 'no_bucket' ? 'no_bucket' : 'bucket_refused'
  return new SetupError(code, `Expected to use ${bucket.name} but: ${error.message}. ${todo}`, {
    cause: error.cause,
  })
}

function placeOf(place: string, setting: string): { bucket: string; prefix: string } {
  const [, bucket, path = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)(?:\/(.*))?$/.exec(place) ?? []
  if (bucket === undefined) {
    throw new SetupError(
      'bad_place',
      `Expected ${setting} like s3://bucket/prefix but got ${JSON.stringify(place)}.`,
    )
  }
  const prefix = path.replace(/\/+$/, '')
  return { bucket, prefix: prefix === '' ? '' : `${prefix}/` }
}

function rethrow(error: unknown): never {
  if (!(error instanceof Error)) throw error
  const word = `${error.name} ${error.message}`.trim()
  if (!(error instanceof S3ServiceException)) {
    // No credentials, no region: thrown before anything is sent.
    if (error.name === 'CredentialsProviderError' || error.message.includes('Region is missing'))
      throw new BucketRefusal('refused', word, error)
    throw new Passing(word, { cause: error, reason: 'reset' })
  }
  const status = error.$metadata.httpStatusCode ?? 0
  if (status === 429 || status === 408 || status === 409 || status >= 500 || status === 200) {
    const headers: Record<string, string> = error.$response?.headers ?? {}
    throw new Passing(`it answered ${status}`, {
      waitMs: retryAfterMs(headers['retry-after']),
      cause: error,
      reason: status === 503 || status === 429 ? 'slow_down' : 'server_error',
    })
  }
  throw new BucketRefusal(troubleOf(status, error.name), `S3 answered ${status} ${error.name}`, error)
}

function troubleOf(status: number, name: string): Trouble {
  if (name === 'NoSuchBucket') return 'no_bucket'
  switch (status) {
    case 404:
      return 'missing'
    case 412:
      return 'changed'
    case 416:
      return 'range'
    default:
      return 'refused'
  }
}
