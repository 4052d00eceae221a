// `s3://bucket/prefix` -> what is done there with objects of any size: parts of them read, parts of them written,
// addresses that take one without a key. Only this file talks to S3. What another try may mend it tries again, bodies that
// break off halfway included; answers.ts makes errors of the rest.
//
// A write whose answer was lost is told from the write of another by WRITER, a random id in the object's metadata.
//
// Credentials, region and endpoint come the SDK's usual ways: AWS_REGION, AWS_ENDPOINT_URL_S3, roles and profiles.

import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { SetupError, UpstreamError } from '../errors.ts'
import { type RetryOptions, retry } from '../retry.ts'
import { type Purpose, statusOf, toGlimpseError, unless } from './answers.ts'

/** For the SDK; for tests also how long is waited. */
export interface BucketOptions extends S3ClientConfig, Pick<RetryOptions, 'retryMs' | 'stallMs'> {}

export interface ObjectHead {
  sizeBytes: number
  etag: string
  metadata: Record<string, string>
}

export interface ObjectBody extends ObjectHead {
  /** Throws TransientError where it breaks off. */
  body: AsyncIterable<Uint8Array>
}

export interface WholeObject extends ObjectHead {
  bytes: Uint8Array
}

export interface UploadPart {
  number: number
  etag: string
  checksum?: string
}

/** Every call throws SetupError for what the operator must mend, UpstreamError `purpose.code`, BusyError `cancelled`. */
export interface Bucket {
  /** `s3://bucket/prefix`, for messages. */
  readonly name: string
  /** Throws SetupError when the bucket is not there or may not be used. */
  check(): Promise<void>
  /** Undefined: nothing is there. */
  head(key: string): Promise<ObjectHead | undefined>
  /**
   * Bytes `from` to before `to`, of a version with this etag alone if one is named. This is one try: it throws TransientError
   * where another may mend it, and S3Error. The whole of an object ends in TransientError where it is not what S3's own
   * checksum says.
   */
  get(key: string, range: Range, signal?: AbortSignal): Promise<ObjectBody>
  /** The whole object; undefined: nothing is there. Of one with more than `maxBytes` only the size is right. */
  read(key: string, maxBytes?: number, signal?: AbortSignal): Promise<WholeObject | undefined>
  /** The etag; undefined: the condition is not met. */
  put(key: string, bytes: Uint8Array | string, given?: PutOptions): Promise<string | undefined>
  /** Succeeds also where nothing is. */
  remove(key: string): Promise<void>
  /** Keys that begin so. */
  list(prefix: string): Promise<string[]>
  /** A large object in parts; all but the last have at least 5 MiB. */
  beginParts(key: string, metadata: Record<string, string>): Promise<string>
  putPart(
    key: string,
    upload: string,
    number: number,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<UploadPart>
  completeParts(key: string, upload: string, parts: readonly UploadPart[]): Promise<void>
  abortParts(key: string, upload: string): Promise<void>
  /** An address that takes exactly so many bytes by PUT, for a while. */
  presignPut(key: string, sizeBytes: number, seconds: number): Promise<string>
}

interface Range {
  from?: number
  to?: number
  etag?: string
}

export interface PutOptions {
  metadata?: Record<string, string>
  type?: string
  /** Only where nothing is. */
  isNew?: boolean
  /** Only in place of this version. */
  etag?: string
  signal?: AbortSignal
}

const CONNECT_MS = 5_000
const SOCKET_TIMEOUT_MS = 10_000
const RETRY_MS = 100
/** Metadata key of the random id that each write carries. */
const WRITER = 'writer'

/** Throws SetupError `bad_place`. */
export function openBucket(location: string, given: Purpose, options: BucketOptions = {}): Bucket {
  const { bucket: Bucket, prefix } = parseLocation(location, given.setting)
  const name = location.replace(/\/+$/, '')
  const { retryMs, stallMs, ...config } = options
  const purpose = { ...given, retryMs: retryMs ?? given.retryMs ?? RETRY_MS }
  const client = new S3Client({
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: stallMs ?? purpose.stallMs ?? SOCKET_TIMEOUT_MS,
    },
    // Of a part of an object S3 has no checksum.
    responseChecksumValidation: 'WHEN_REQUIRED',
    // The checksum of no bytes would be signed into an address, and no body fits it. Our own writes name one.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    ...config,
    // `tried` tries again, and must know that it did.
    maxAttempts: 1,
  })
  const ChecksumAlgorithm = 'CRC32' as const
  const at = (key: string) => ({ Bucket, Key: `${prefix}${key}` })
  const fail = (error: unknown) => {
    throw toGlimpseError(error, name, purpose)
  }
  const tried = <T>(
    key: string,
    work: (sent: { abortSignal?: AbortSignal }) => Promise<T>,
    signal: AbortSignal | undefined = purpose.signal,
  ): Promise<T> =>
    retry({ ...purpose, endpoint: name, signal }, `an answer about ${key}`, () =>
      work({ abortSignal: signal }).catch(fail),
    )
  const headBucket = (sent: { abortSignal?: AbortSignal }) =>
    client.send(new HeadBucketCommand({ Bucket }), sent)

  const bucket: Bucket = {
    name,
    async check() {
      await tried('the bucket', headBucket)
    },
    head: (key) =>
      tried(key, async (sent) => {
        try {
          const found = await client.send(new HeadObjectCommand(at(key)), sent)
          return { sizeBytes: found.ContentLength!, etag: found.ETag!, metadata: found.Metadata ?? {} }
        } catch (error) {
          if (statusOf(error) !== 404) throw error
          // An answer to HEAD has no body: it does not say whether the object is missing or the bucket.
          await headBucket(sent).catch((other: unknown) => {
            if (statusOf(other) !== 403) throw other
          })
          return undefined
        }
      }),
    async get(key, { from = 0, to, etag }, abortSignal = purpose.signal) {
      const Range =
        from > 0 || to !== undefined ? `bytes=${from}-${to === undefined ? '' : to - 1}` : undefined
      const command = new GetObjectCommand({
        ...at(key),
        Range,
        IfMatch: etag,
        ChecksumMode: Range === undefined ? 'ENABLED' : undefined,
      })
      const got = await client.send(command, { abortSignal }).catch(fail)
      const body = got.Body as Readable
      body.on('error', () => {}) // the iterator throws it
      // A server that does not know ranges sends all.
      if (Number(/^bytes (\d+)-/.exec(got.ContentRange ?? '')?.[1] ?? 0) !== from) {
        body.destroy()
        throw new UpstreamError(
          'bad_answer',
          `Expected a part of ${key} from ${name} but other bytes came. The service does not know ranges (AWS_ENDPOINT_URL_S3).`,
        )
      }
      const described = {
        sizeBytes: got.ContentLength ?? 0,
        etag: got.ETag!,
        metadata: got.Metadata ?? {},
      }
      return { ...described, body: chunksOf(body, fail) }
    },
    read: (key, maxBytes = Number.POSITIVE_INFINITY, signal) =>
      tried(
        key,
        async ({ abortSignal }) => {
          const { body, ...described } = await bucket.get(key, {}, abortSignal)
          const chunks: Uint8Array[] = []
          let read = 0
          for await (const chunk of body) {
            read += chunk.length
            if (Math.max(read, described.sizeBytes) > maxBytes) break
            chunks.push(chunk)
          }
          const sizeBytes = Math.max(read, described.sizeBytes)
          const { buffer, byteOffset, length } = Buffer.concat(chunks)
          return { ...described, sizeBytes, bytes: new Uint8Array(buffer, byteOffset, length) }
        },
        signal,
      ).catch(unless('missing')),
    async put(key, Body, { metadata, type, isNew, etag, signal } = {}) {
      const writer = randomUUID()
      const command = new PutObjectCommand({
        ...at(key),
        Body,
        ChecksumAlgorithm,
        ContentType: type,
        Metadata: { ...metadata, [WRITER]: writer },
        IfNoneMatch: isNew ? '*' : undefined,
        IfMatch: etag,
      })
      let tries = 0
      const send = (sent: { abortSignal?: AbortSignal }) => {
        tries++
        return client.send(command, sent)
      }
      const orUndefined = isNew || etag !== undefined ? unless('changed', 'missing') : unless()
      const done = await tried(key, send, signal).catch(orUndefined)
      if (done || tries === 1) return done?.ETag
      // An earlier try may have been done, and its answer lost.
      const there = await bucket.head(key)
      return there?.metadata[WRITER] === writer ? there.etag : undefined
    },
    async remove(key) {
      await tried(key, (sent) => client.send(new DeleteObjectCommand(at(key)), sent)).catch(unless('missing'))
    },
    async list(below) {
      const keys: string[] = []
      let ContinuationToken: string | undefined
      do {
        const request = { Bucket, Prefix: `${prefix}${below}`, ContinuationToken }
        const page = await tried(below, (sent) => client.send(new ListObjectsV2Command(request), sent))
        keys.push(...(page.Contents ?? []).map(({ Key }) => Key!.slice(prefix.length)))
        ContinuationToken = page.NextContinuationToken
      } while (ContinuationToken !== undefined)
      return keys
    },
    async beginParts(key, Metadata) {
      const command = new CreateMultipartUploadCommand({ ...at(key), Metadata, ChecksumAlgorithm })
      return (await tried(key, (sent) => client.send(command, sent))).UploadId!
    },
    async putPart(key, UploadId, PartNumber, Body, signal) {
      const command = new UploadPartCommand({ ...at(key), UploadId, PartNumber, Body, ChecksumAlgorithm })
      const { ETag, ChecksumCRC32 } = await tried(key, (sent) => client.send(command, sent), signal)
      return { number: PartNumber, etag: ETag!, checksum: ChecksumCRC32 }
    },
    async completeParts(key, UploadId, parts) {
      const Parts = parts.map(({ number, etag, checksum }) => ({
        PartNumber: number,
        ETag: etag,
        ChecksumCRC32: checksum,
      }))
      const command = new CompleteMultipartUploadCommand({ ...at(key), UploadId, MultipartUpload: { Parts } })
      await tried(key, (sent) => client.send(command, sent))
    },
    async abortParts(key, UploadId) {
      const command = new AbortMultipartUploadCommand({ ...at(key), UploadId })
      // Also after everything else was cancelled.
      await tried(key, () => client.send(command), new AbortController().signal)
    },
    presignPut: (key, ContentLength, expiresIn) =>
      tried(key, () =>
        getSignedUrl(client, new PutObjectCommand({ ...at(key), ContentLength }), { expiresIn }),
      ),
  }
  return bucket
}

async function* chunksOf(body: Readable, fail: (error: unknown) => never): AsyncGenerator<Uint8Array> {
  try {
    yield* body as AsyncIterable<Uint8Array>
  } catch (error) {
    fail(error)
  }
}

function parseLocation(location: string, setting: string): { bucket: string; prefix: string } {
  const [, bucket, path = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)(?:\/(.*))?$/.exec(location) ?? []
  if (bucket === undefined) {
    throw new SetupError(
      'bad_place',
      `Expected ${setting} like s3://bucket/prefix but got ${JSON.stringify(location)}.`,
    )
  }
  const prefix = path.replace(/\/+$/, '')
  return { bucket, prefix: prefix === '' ? '' : `${prefix}/` }
}
