// The store in an S3 bucket, for processes that share no disk: an object for each key.
//
// `create` and `replace` are conditional writes (If-None-Match: *, If-Match), which S3 decides itself, so they hold
// between any number of processes. When a value ends stands in its metadata; removing it is the bucket's lifecycle rule,
// not ours.
//
// Credentials, region and endpoint come the SDK's usual ways: AWS_REGION, AWS_ENDPOINT_URL_S3, roles and profiles.

import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { SetupError, UpstreamError } from '../errors.ts'
import { checkKey, type Store } from './store.ts'

export interface S3Place {
  bucket: string
  /** Before each key: '' or `glimpse/`. */
  prefix: string
}

/** Names the moment at which a value ends, in milliseconds since 1970. */
const ENDS_AT = 'ends-at'
/** Of two who write at once S3 may ask one to try again (409 ConditionalRequestConflict). */
const CONFLICT_TRIES = 5

/** @throws SetupError `no_state` when there is no such bucket or it may not be used. */
export async function openS3Store(
  { bucket, prefix }: S3Place,
  options: S3ClientConfig = {},
  now: () => number = Date.now,
): Promise<Store> {
  const client = new S3Client(options)
  await client.send(new HeadBucketCommand({ Bucket: bucket })).catch((cause: unknown) => {
    throw new SetupError(
      'no_state',
      `Expected a bucket ${bucket} that can be read and written but: ${wordOf(cause)}. Check GLIMPSE_STATE, AWS_REGION and the role's permissions.`,
      { cause },
    )
  })
  const at = (key: string) => ({ Bucket: bucket, Key: `${prefix}${checkKey(key)}` })

  /** Undefined when the condition does not hold. */
  const put = async (
    key: string,
    bytes: Uint8Array,
    ttlMs: number,
    condition: { IfNoneMatch?: string; IfMatch?: string },
  ): Promise<string | undefined> => {
    const Metadata = { [ENDS_AT]: String(now() + ttlMs) }
    const command = new PutObjectCommand({ ...at(key), Body: bytes, Metadata, ...condition })
    for (let tries = 1; ; tries++) {
      try {
        return (await client.send(command)).ETag
      } catch (error) {
        if (isStatus(error, 412) || isStatus(error, 404)) return undefined
        if (!isStatus(error, 409) || tries === CONFLICT_TRIES) throw failed(error)
      }
    }
  }

  const head = async (key: string) => {
    const found = await client.send(new HeadObjectCommand(at(key))).catch(ifMissing)
    return found && { version: found.ETag!, isOver: isOver(found.Metadata) }
  }
  const isOver = (metadata: Record<string, string> | undefined) => Number(metadata?.[ENDS_AT] ?? 0) <= now()

  return {
    async read(key) {
      const found = await client.send(new GetObjectCommand(at(key))).catch(ifMissing)
      if (!found || isOver(found.Metadata)) return undefined
      return { bytes: await found.Body!.transformToByteArray(), version: found.ETag! }
    },
    async create(key, bytes, ttlMs) {
      const made = await put(key, bytes, ttlMs, { IfNoneMatch: '*' })
      if (made !== undefined) return made
      // One that is over may be taken over, by one of those who see it.
      const there = await head(key)
      if (!there) return await put(key, bytes, ttlMs, { IfNoneMatch: '*' })
      return there.isOver ? await put(key, bytes, ttlMs, { IfMatch: there.version }) : undefined
    },
    replace: (key, bytes, ttlMs, version) =>
      put(key, bytes, ttlMs, version === undefined ? {} : { IfMatch: version }),
    async remove(key) {
      await client.send(new DeleteObjectCommand(at(key))).catch(ifMissing)
    },
    async list(below) {
      const keys: string[] = []
      let ContinuationToken: string | undefined
      do {
        const request = new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: `${prefix}${below}`,
          ContinuationToken,
        })
        const page = await client.send(request).catch((error: unknown) => {
          throw failed(error)
        })
        keys.push(...(page.Contents ?? []).map(({ Key }) => Key!.slice(prefix.length)))
        ContinuationToken = page.NextContinuationToken
      } while (ContinuationToken !== undefined)
      return keys
    },
    sweep: async () => {},
  }
}

function ifMissing(error: unknown): undefined {
  if (isStatus(error, 404)) return undefined
  throw failed(error)
}

function isStatus(error: unknown, status: number): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === status
}

function failed(cause: unknown): UpstreamError {
  return new UpstreamError('state_failed', `Expected S3 to do it but: ${wordOf(cause)}.`, { cause })
}

function wordOf(error: unknown): string {
  return error instanceof Error ? `${error.name} ${error.message}`.trim() : String(error)
}
