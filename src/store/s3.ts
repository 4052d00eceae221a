// The store in an S3 bucket, for processes that share no disk: an object for each key.
//
// `create` and `replace` are conditional writes (If-None-Match: *, If-Match), which S3 decides itself, so they hold
// between any number of processes. When a value ends stands in its metadata; removing it is the bucket's lifecycle rule,
// not ours.

import { type BucketOptions, type ObjectHead, openBucket, type PutOptions } from './bucket.ts'
import { checkKey, type Store } from './store.ts'

/** Names the moment at which a value ends, in milliseconds since 1970. */
const EXPIRES_AT = 'ends-at'
const PURPOSE = { setting: 'GLIMPSE_STATE', code: 'state_failed' as const, todo: 'Try again.' }

/** @throws SetupError when there is no such bucket or it may not be used. */
export async function openS3Store(
  place: string,
  options: BucketOptions = {},
  now: () => number = Date.now,
): Promise<Store> {
  const bucket = openBucket(place, PURPOSE, options)
  await bucket.check()
  const put = (key: string, bytes: Uint8Array, ttlMs: number, condition: PutOptions) =>
    bucket.put(checkKey(key), bytes, { ...condition, metadata: { [EXPIRES_AT]: String(now() + ttlMs) } })
  const isExpired = ({ metadata }: ObjectHead) => Number(metadata[EXPIRES_AT] ?? 0) <= now()

  return {
    async read(key) {
      const found = await bucket.read(checkKey(key))
      return found && !isExpired(found) ? { bytes: found.bytes, version: found.etag } : undefined
    },
    async create(key, bytes, ttlMs) {
      const made = await put(key, bytes, ttlMs, { isNew: true })
      if (made !== undefined) return made
      // One that is over may be taken over, by one of those who see it.
      const there = await bucket.head(key)
      if (!there) return await put(key, bytes, ttlMs, { isNew: true })
      return isExpired(there) ? await put(key, bytes, ttlMs, { etag: there.etag }) : undefined
    },
    replace: (key, bytes, ttlMs, version) => put(key, bytes, ttlMs, { etag: version }),
    remove: (key) => bucket.remove(checkKey(key)),
    list: (below) => bucket.list(below),
    sweep: async () => {},
  }
}
