// Settings -> the store of picture collections, the same for commands and for the server.

import { type Config, ENVIRONMENT } from '../config.ts'
import { openSearchStore } from '../search/open.ts'
import type { SearchStore } from '../search/store.ts'

/** GLIMPSE_SEARCH, else a folder in GLIMPSE_STATE. */
export function searchLocation({ search, state }: Pick<Config, 'search' | 'state'>): string {
  return search === '' ? `${state.replace(/\/$/, '')}/search` : search
}

/** @throws SetupError `no_search_library`; UpstreamError `index_failed` */
export async function openSearch(location: string): Promise<SearchStore> {
  return await openSearchStore(
    location,
    location.startsWith('s3://') ? bucketOptions(ENVIRONMENT) : undefined,
  )
}

/** LanceDB reads credentials and region from the environment as the AWS SDK does, but not the address of a stand-in for S3. */
export function bucketOptions(environment: Readonly<Record<string, string | undefined>>) {
  const endpoint = environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL']
  if (!endpoint) return undefined
  return { aws_endpoint: endpoint, allow_http: String(endpoint.startsWith('http://')) }
}
