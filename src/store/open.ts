// `/var/lib/glimpse` -> the store in that folder; `s3://bucket/prefix` -> the store in that bucket.

import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import { openDiskStore } from './disk.ts'
import type { Store } from './store.ts'

/**
 * @param isChecked false: sends nothing to a bucket, which may fail now and work later. Default true
 * @throws SetupError when the location cannot be used
 */
export async function openStore(location: string, isChecked = true): Promise<Store> {
  if (!location.startsWith('s3://')) return await openDiskStore(location)
  // Loaded here: the SDK is optional and takes a while.
  const { openS3Store } = await loadPart('A store in S3', S3_PACKAGES, () => import('./s3.ts'))
  return await openS3Store(location, { isChecked })
}
