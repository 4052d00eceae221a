// Settings -> options of the HTTP app, the same for every command and function that serves it.

import type { Config } from '../config.ts'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import type { AppOptions } from '../serve/routes.ts'
import { openStore } from '../store/open.ts'
import { openSearch, searchLocation } from './search.ts'

/** @throws SetupError `bad_place` */
export async function serverOptions(config: Config) {
  return {
    hosts: listOf(config.allowedHosts),
    // An origin has no path, but people paste addresses.
    origins: listOf(config.corsOrigins).map((origin) => origin.replace(/\/+$/, '')),
    token: config.apiToken,
    maxQueue: config.maxQueue,
    concurrency: config.maxBatch,
    deadlineMs: config.deadlineMs,
    // Imported on use, because the AWS SDK loads slowly.
    uploads:
      config.uploads === ''
        ? undefined
        : (
            await loadPart('GLIMPSE_UPLOADS', S3_PACKAGES, () => import('../serve/s3-uploads.ts'))
          ).openUploads(config.uploads),
    store: () => openStore(config.state),
    search: () => openSearch(searchLocation(config)),
  } satisfies AppOptions
}

function listOf(text: string): string[] {
  return text.split(/[\s,]+/).filter((name) => name !== '')
}
