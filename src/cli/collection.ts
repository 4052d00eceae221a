// What `index`, `search` and `duplicates` share: which collection, and the engine with a model that matches.

import { resolve, sep } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { loadConfig } from '../app/config.ts'
import { openEngine } from '../app/engine.ts'
import { openSearch, searchLocation } from '../app/search.ts'
import { type Engine, startEngine } from '../engine/engine.ts'
import { type Embedder, engineEmbedder } from '../search/embedder.ts'
import type { SearchStore } from '../search/store.ts'
import { type ModelFlags, modelFor } from './flags.ts'

export interface CollectionFlags {
  store?: string
  collection: string
}

export function addCollectionFlags(command: Command): Command {
  return command
    .option('--store <place>', 'folder or s3://bucket/prefix of the index (default: GLIMPSE_SEARCH)')
    .option('--collection <name>', 'name of the index in it', parseName, 'pictures')
}

/** Opens the store that the flags name, else that of the settings, and closes it after `work`. */
export async function withStore<T>(
  { store }: Pick<CollectionFlags, 'store'>,
  work: (store: SearchStore) => Promise<T>,
): Promise<T> {
  const opened = await openSearch(store ?? searchLocation(await loadConfig()))
  try {
    return await work(opened)
  } finally {
    opened.close()
  }
}

/** Opens the model that the flags or the settings name, a remote one included, and closes it after `work`. */
export async function withEmbedder<T>(
  flags: ModelFlags,
  work: (embedder: Embedder) => Promise<T>,
): Promise<T> {
  const config = await loadConfig()
  const local = () => modelFor(flags, config)
  const isNamed = flags.model !== undefined
  const engine: Engine = isNamed ? await startEngine(await local()) : await openEngine(config, local, false)
  try {
    return await work(await engineEmbedder(engine, config.maxBatch))
  } finally {
    await engine.close()
  }
}

/** For `option`: a flag that may be given several times. */
export function repeated(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value]
}

/** Beginnings of the paths in these folders. */
export function insideOf(folders: readonly string[] | undefined): string[] | undefined {
  return folders
    ?.map((folder) => resolve(folder))
    .map((path) => (path.endsWith(sep) ? path : `${path}${sep}`))
}

function parseName(name: string): string {
  if (/^[\w-]{1,64}$/.test(name)) return name
  throw new InvalidArgumentError('Expected 1 to 64 letters, digits, - or _.')
}
