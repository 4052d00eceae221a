// Objects in S3 as SageMaker's asynchronous endpoints take and leave them: plain bytes by address, s3://bucket/key.

import { type Bucket, type BucketOptions, openBucket } from '../store/bucket.ts'

export interface Objects {
  put(address: string, text: string, signal?: AbortSignal): Promise<void>
  /** Undefined while there is none. */
  get(address: string, signal?: AbortSignal): Promise<string | undefined>
  remove(address: string): Promise<void>
}

const PURPOSE = { setting: 'GLIMPSE_ENGINE', code: 'engine_failed' as const, todo: 'Try again.' }

export function openObjects(options: BucketOptions = {}): Objects {
  const buckets = new Map<string, Bucket>()
  const at = (address: string): [Bucket, string] => {
    const [, place, key] = /^(s3:\/\/[^/]+)\/(.+)$/.exec(address) ?? []
    if (place === undefined || key === undefined) throw new Error('Expected an address like s3://bucket/key.')
    const bucket = buckets.get(place) ?? openBucket(place, PURPOSE, options)
    buckets.set(place, bucket)
    return [bucket, key]
  }
  return {
    async put(address, text, signal) {
      const [bucket, key] = at(address)
      await bucket.put(key, text, { type: 'application/json', signal })
    },
    async get(address, signal) {
      const [bucket, key] = at(address)
      const found = await bucket.read(key, undefined, signal)
      return found && new TextDecoder().decode(found.bytes)
    },
    async remove(address) {
      const [bucket, key] = at(address)
      await bucket.remove(key)
    },
  }
}
