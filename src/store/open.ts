// `/var/lib/glimpse` -> the store on disk; `s3://bucket/prefix` -> the store in that bucket.

import { openDiskStore } from './disk.ts'
import type { Store } from './store.ts'

/** @throws SetupError where the place cannot be used */
export async function openStore(place: string): Promise<Store> {
  if (!place.startsWith('s3://')) return await openDiskStore(place)
  // Only here: the SDK takes longer to load than a folder to open.
  return await (await import('./s3.ts')).openS3Store(place)
}

/** A place within a place. */
export function below(place: string, name: string): string {
  return `${place.replace(/\/$/, '')}/${name}`
}
