// `/var/lib/glimpse` -> the store on disk; `s3://bucket/prefix` -> the store in that bucket.

import { SetupError } from '../errors.ts'
import { openDiskStore } from './disk.ts'
import type { Store } from './store.ts'

/** @throws SetupError `no_state` */
export async function openStore(place: string): Promise<Store> {
  if (!place.startsWith('s3://')) return await openDiskStore(place)
  const { hostname: bucket, pathname } = new URL(place)
  if (bucket === '') {
    throw new SetupError('no_state', `Expected GLIMPSE_STATE like s3://bucket/prefix but got ${place}.`)
  }
  // Only here: the SDK takes longer to load than a folder to open.
  const { openS3Store } = await import('./s3.ts')
  const path = pathname.replace(/^\/|\/$/g, '')
  return await openS3Store({ bucket, prefix: path === '' ? '' : `${path}/` })
}

/** A place within a place. */
export function below(place: string, name: string): string {
  return `${place.replace(/\/$/, '')}/${name}`
}
