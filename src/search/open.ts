// Location -> the vector store there. One row a store: a scheme and who opens it.

import type { SearchStore } from './store.ts'

/** @throws SetupError `no_search_library`; UpstreamError `index_failed` */
export async function openSearchStore(location: string): Promise<SearchStore> {
  // LanceDB reads a folder and s3://bucket/prefix alike. Loaded here: it takes 150 MB.
  return await (await import('./lance.ts')).openLance(location)
}
