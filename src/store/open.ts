// `/var/lib/glimpse` -> the store in that folder; `s3://bucket/prefix` -> the store in that bucket.

import { openDiskStore } from './disk.ts'
import type { Store } from './store.ts'

/**
 * @param isChecked false: sends nothing to a bucket, which may fail now and work later. Default true
 * @throws SetupError when the location cannot be used
 */
export async function openStore(location: string, isChecked = true): Promise<Store> {
  if (!location.startsWith('s3://')) return await openDiskStore(location)
  // Loaded here: the SDK takes a while.
  return await (await import('./s3.ts')).openS3Store(location, { isChecked })
}
