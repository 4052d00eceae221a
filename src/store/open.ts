// `/var/lib/glimpse` -> the store on disk; `s3://bucket/prefix` -> the store in that bucket.

import { openDiskStore } from './disk.ts'
import type { Store } from './store.ts'

/** @throws SetupError where the place cannot be used */
export async function openStore(location: string): Promise<Store> {
  if (!location.startsWith('s3://')) return await openDiskStore(location)
  // Only here: the SDK takes longer to load than a folder to open.
  return await (await import('./s3.ts')).openS3Store(location)
}

/** A place within a place. */
export function childLocation(location: string, name: string): string {
  return `${location.replace(/\/$/, '')}/${name}`
}
