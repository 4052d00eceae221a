// `s3://bucket/prefix` -> objects read whole or in ranges, written, uploaded in parts, listed, and presigned addresses.
//
// The only file that sends requests to S3. Temporary failures are retried, bodies that break off included; answers.ts turns
// the others into errors. Every write carries a random id in the metadata (WRITER): it tells a write whose answer was lost
// from another process's. Credentials, region and endpoint come the SDK's usual ways (AWS_REGION, AWS_ENDPOINT_URL_S3).

import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { SetupError, UpstreamError } from '../errors.ts'
import { type RetryOptions, retry, TransientError } from '../retry.ts'
import { stopWith } from '../stop.ts'
import { type Purpose, statusOf, toGlimpseError, unless } from './answers.ts'

/** Configuration of the SDK's client, and of retries and timeouts. */
export interface BucketOptions extends S3ClientConfig, Pick<RetryOptions, 'retryMs' | 'stallMs'> {}

export interface ObjectHead {
  sizeBytes: number
  etag: string
  metadata: Record<string, string>
}

/** Every call throws SetupError when the operator must act, UpstreamError `purpose.code`, BusyError `cancelled`. */
export type Bucket = ReturnType<typeof openBucket>

export interface PutOptions {
  metadata?: Record<string, string>
  type?: string
  /** Write only if the key has no object. */
  isNew?: boolean
  /** Write only in place of this version. */
  etag?: string
  signal?: AbortSignal
}

interface RangeOptions {
  /** Position of the first byte in the object. */
  from: number
  etag: string
  signal?: AbortSignal
  onBytes?: (count: number) => void
}

interface UploadOptions {
  metadata: Record<string, string>
  /** 5 MiB or more; S3 takes 10,000 parts at most. */
  partBytes: number
  /** Parts sent at once. */
  count: number
  onBytes: (count: number) => void
}

/** What a request to the SDK is sent with. */
interface Sent {
  abortSignal?: AbortSignal
}

const CONNECT_MS = 5_000
const SOCKET_TIMEOUT_MS = 10_000
const RETRY_MS = 200
const WRITER = 'writer'

/** Sends nothing yet. @throws SetupError `bad_place` */
export function openBucket(location: string, given: Purpose, options: BucketOptions = {}) {
  const { bucket: Bucket, prefix } = parseLocation(location, given.setting)
  const name = location.replace(/\/+$/, '')
  const {
    retryMs = given.retryMs ?? RETRY_MS,
    stallMs = given.stallMs ?? SOCKET_TIMEOUT_MS,
    ...config
  } = options
  const purpose = { ...given, retryMs }
  const client = new S3Client({
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: stallMs },
    // S3 has no checksum of a range of an object.
    responseChecksumValidation: 'WHEN_REQUIRED',
    // A presigned address would include the checksum of an empty body. Writes name their checksum themselves.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    ...config,
    // Retries are made by `tried`, so that `put` knows whether there was one.
    maxAttempts: 1,
  })
  const ChecksumAlgorithm = 'CRC32' as const
  const at = (key: string) => ({ Bucket, Key: `${prefix}${key}` })
  const tried = <T>(key: string, work: (sent: Sent) => Promise<T>, signal = purpose.signal): Promise<T> =>
    retry({ ...purpose, endpoint: name, signal }, `A request about ${key}`, () =>
      work({ abortSignal: signal }).catch((error: unknown) => {
        throw toGlimpseError(error, name, purpose)
      }),
    )
  const headBucket = (sent: Sent) => client.send(new HeadBucketCommand({ Bucket }), sent)

  const get = async (key: string, input: { Range?: string; IfMatch?: string }, from: number, sent: Sent) => {
    const ChecksumMode = input.Range === undefined ? ('ENABLED' as const) : undefined
    const found = await client.send(new GetObjectCommand({ ...at(key), ...input, ChecksumMode }), sent)
    const body = found.Body as Readable
    body.on('error', () => {}) // the iterator throws it
    if (Number(/^bytes (\d+)-/.exec(found.ContentRange ?? '')?.[1] ?? 0) !== from) {
      body.destroy()
      throw ignoresRanges(key, name)
    }
    return { ...headOf(found), body }
  }

  /** Undefined: no such object. */
  const head = (key: string): Promise<ObjectHead | undefined> =>
    tried(key, async (sent) => {
      try {
        return headOf(await client.send(new HeadObjectCommand(at(key)), sent))
      } catch (error) {
        if (statusOf(error) !== 404) throw error
        // An answer to HEAD has no body, so it does not say whether the object or the bucket is missing.
        await headBucket(sent).catch((other: unknown) => {
          if (statusOf(other) !== 403) throw other
        })
        return undefined
      }
    })

  return {
    /** `s3://bucket/prefix`, for messages. */
    name,
    head,
    /** @throws SetupError when the bucket does not exist or must not be used */
    async check(): Promise<void> {
      await tried('the bucket', headBucket)
    },
    /**
     * Undefined: no such object. Of an object larger than `maxBytes` only `sizeBytes` is right. Retries when the bytes do not
     * match S3's checksum.
     */
    async read(
      key: string,
      maxBytes = Number.POSITIVE_INFINITY,
      signal?: AbortSignal,
    ): Promise<(ObjectHead & { bytes: Uint8Array }) | undefined> {
      const readOnce = async (sent: Sent) => {
        const { body, ...found } = await get(key, {}, 0, sent)
        if (found.sizeBytes > maxBytes) body.destroy()
        const chunks = found.sizeBytes > maxBytes ? [] : await body.toArray()
        return { ...found, bytes: new Uint8Array(Buffer.concat(chunks)) }
      }
      return await tried(key, readOnce, signal).catch(unless('missing'))
    },
    /**
     * Fills `bytes` from one version of an object. A retry continues behind the bytes that have arrived.
     * @throws S3Error when that version is missing or shorter
     */
    async readRange(key: string, bytes: Uint8Array, range: RangeOptions): Promise<void> {
      const { from, etag, signal, onBytes } = range
      let arrived = 0
      const readRest = async (sent: Sent) => {
        const Range = `bytes=${from + arrived}-${from + bytes.length - 1}`
        const { body } = await get(key, { Range, IfMatch: etag }, from + arrived, sent)
        for await (const chunk of body) {
          if (arrived + chunk.length > bytes.length) throw ignoresRanges(key, name)
          bytes.set(chunk, arrived)
          arrived += chunk.length
          onBytes?.(chunk.length)
        }
        if (arrived === bytes.length) return
        const why = `the body ended after ${arrived} of ${bytes.length} bytes`
        throw new TransientError(why, { reason: 'short' })
      }
      await tried(key, readRest, signal)
    },
    /** The etag; undefined: the condition is not met. */
    async put(key: string, Body: Uint8Array | string, options: PutOptions = {}): Promise<string | undefined> {
      const { metadata, type, isNew, etag, signal } = options
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
      const send = (sent: Sent) => {
        tries++
        return client.send(command, sent)
      }
      const orUndefined = isNew || etag !== undefined ? unless('changed', 'missing') : unless()
      const done = await tried(key, send, signal).catch(orUndefined)
      if (done || tries === 1) return done?.ETag
      // An earlier attempt may have succeeded, and its answer was lost.
      const there = await head(key)
      return there?.metadata[WRITER] === writer ? there.etag : undefined
    },
    /** Sends a file, in parts if it is larger than `partBytes`. Removes the parts when it fails. */
    async upload(key: string, path: string, options: UploadOptions): Promise<void> {
      const { metadata, partBytes, count, onBytes } = options
      const { Upload } = await import('@aws-sdk/lib-storage') // only a push needs it
      const Body = createReadStream(path)
      const stop = stopWith(purpose.signal)
      let failure: unknown
      // The library would send all other parts after one has failed. So a failure ends every request but the removal of parts.
      const send = async (command: PutObjectCommand) => {
        const isRemoval = (command as unknown) instanceof AbortMultipartUploadCommand
        const signal = isRemoval ? new AbortController().signal : stop.signal
        return await tried(key, (sent) => client.send(command, sent), signal).catch((error: unknown) => {
          failure ??= error
          stop.abort()
          throw error
        })
      }
      const upload = new Upload({
        client: Object.assign(Object.create(client), { send }) as S3Client,
        params: { ...at(key), Body, Metadata: metadata, ChecksumAlgorithm },
        partSize: partBytes,
        queueSize: count,
      })
      let sentBytes = 0
      upload.on('httpUploadProgress', ({ loaded = 0 }) => {
        onBytes(loaded - sentBytes)
        sentBytes = loaded
      })
      try {
        await upload.done()
      } catch (error) {
        throw failure ?? error
      } finally {
        stop.end()
        Body.destroy()
      }
    },
    /** Succeeds also for a missing object. */
    async remove(key: string): Promise<void> {
      await tried(key, (sent) => client.send(new DeleteObjectCommand(at(key)), sent)).catch(unless('missing'))
    },
    /** All keys with this prefix. */
    async list(inside: string): Promise<string[]> {
      const keys: string[] = []
      let startingToken: string | undefined // a retry continues with the page that failed
      await tried(inside, async (sent) => {
        const input = { Bucket, Prefix: `${prefix}${inside}` }
        for await (const page of paginateListObjectsV2({ client, startingToken }, input, sent)) {
          keys.push(...(page.Contents ?? []).map(({ Key }) => Key!.slice(prefix.length)))
          startingToken = page.NextContinuationToken
        }
      })
      return keys
    },
    /** A URL that accepts a PUT of exactly so many bytes, for so many seconds. */
    presignPut: (key: string, ContentLength: number, expiresIn: number): Promise<string> =>
      tried(key, () =>
        getSignedUrl(client, new PutObjectCommand({ ...at(key), ContentLength }), { expiresIn }),
      ),
  }
}

function headOf({ ContentLength = 0, ETag, Metadata = {} }: HeadObjectCommandOutput): ObjectHead {
  return { sizeBytes: ContentLength, etag: ETag!, metadata: Metadata }
}

function ignoresRanges(key: string, name: string): UpstreamError {
  const message = `${name} answered a request for a range of ${key} with other bytes. Expected a service that supports ranges: check AWS_ENDPOINT_URL_S3.`
  return new UpstreamError('bad_answer', message)
}

function parseLocation(location: string, setting: string): { bucket: string; prefix: string } {
  const [, bucket, path = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)(?:\/(.*))?$/.exec(location) ?? []
  if (bucket === undefined) {
    const message = `Expected ${setting} like s3://bucket/prefix but got ${JSON.stringify(location)}.`
    throw new SetupError('bad_place', message)
  }
  const prefix = path.replace(/\/+$/, '')
  return { bucket, prefix: prefix === '' ? '' : `${prefix}/` }
}
