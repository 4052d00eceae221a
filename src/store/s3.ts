// Store in an S3 bucket, for processes that share no disk: one object per key.
//
// `create` and `replace` are conditional writes (If-None-Match: *, If-Match), so S3 decides between any number of processes.
// The metadata holds the time at which a value expires. The bucket's lifecycle rule removes expired objects.

import { type BucketOptions, type ObjectHead, openBucket, type PutOptions } from './bucket.ts'
import { checkKey, type Store } from './store.ts'

/** Metadata key of the time at which a value expires, in milliseconds since 1970. */
const EXPIRES_AT = 'ends-at'
const PURPOSE = { setting: 'GLIMPSE_STATE', code: 'state_failed' as const, todo: 'Try again.' }

/**
 * @param isChecked false: sends nothing yet. Default true
 * @throws SetupError when the bucket does not exist or must not be used
 */
export async function openS3Store(
  location: string,
  { isChecked = true, ...options }: BucketOptions & { isChecked?: boolean } = {},
  now: () => number = Date.now,
): Promise<Store> {
  const bucket = openBucket(location, PURPOSE, options)
  if (isChecked) await bucket.check()
  const put = (key: string, bytes: Uint8Array, ttlMs: number, condition: PutOptions) =>
    bucket.put(checkKey(key), bytes, { ...condition, metadata: { [EXPIRES_AT]: String(now() + ttlMs) } })
  const expiryOf = ({ metadata }: ObjectHead) => Number(metadata[EXPIRES_AT] ?? 0)
  const isExpired = (head: ObjectHead) => expiryOf(head) <= now()

  return {
    async read(key) {
      const found = await bucket.read(checkKey(key))
      if (!found || isExpired(found)) return undefined
      return { bytes: found.bytes, version: found.etag, expiresAt: expiryOf(found) }
    },
    async create(key, bytes, ttlMs) {
      const made = await put(key, bytes, ttlMs, { isNew: true })
      if (made !== undefined) return made
      // An expired value may be replaced, by one process.
      const there = await bucket.head(key)
      if (!there) return await put(key, bytes, ttlMs, { isNew: true })
      return isExpired(there) ? await put(key, bytes, ttlMs, { etag: there.etag }) : undefined
    },
    replace: (key, bytes, ttlMs, version) => put(key, bytes, ttlMs, { etag: version }),
    remove: (key) => bucket.remove(checkKey(key)),
    list: (prefix) => bucket.list(prefix),
    sweep: async () => {},
  }
}
