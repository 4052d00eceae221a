// Location -> the vector store there, and the collection of a model in it. One row a store: a scheme and who opens it.

import { SetupError } from '../errors.ts'
import type { LanceOptions } from './lance.ts'
import type { Collection, ModelOfVectors, SearchStore } from './store.ts'

/**
 * @param bucket how a bucket is reached, where the environment of AWS does not say it
 * @throws SetupError `no_search_library`; UpstreamError `index_failed`
 */
export async function openSearchStore(location: string, bucket?: LanceOptions): Promise<SearchStore> {
  // LanceDB reads a folder and s3://bucket/prefix alike. Loaded here: it takes 150 MB.
  return await (await import('./lance.ts')).openLance(location, bucket)
}

/** @throws SetupError `no_index` when there is no such collection */
export async function existingCollection(store: SearchStore, name: string): Promise<Collection> {
  const collection = await store.open(name)
  if (collection) return collection
  const names = await store.names()
  const others = names.length === 0 ? 'there is none' : `there are only ${names.slice(0, 10).join(', ')}`
  const message = `Expected an index named ${name} at ${store.location} but ${others}. Make it: npx glimpse index <folders>`
  throw new SetupError('no_index', message)
}

/**
 * The collection of this model, made if there is none.
 * @param replace removes one of another model first, in place of refusing it
 * @throws SetupError `other_model`: vectors of two models are never mixed
 */
export async function collectionOfModel(
  store: SearchStore,
  name: string,
  model: ModelOfVectors,
  replace = false,
): Promise<Collection> {
  if (replace && (await store.names()).includes(name)) await store.drop(name)
  const collection = (await store.open(name)) ?? (await store.create(name, model))
  checkModel(collection, name, store.location, model)
  return collection
}

/** @throws SetupError `other_model` */
export function checkModel(
  { model: theirs }: Collection,
  name: string,
  location: string,
  model: ModelOfVectors,
): void {
  if (theirs.key === model.key) return
  const message = `Expected vectors of ${model.name} (${model.key}) in the index ${name} at ${location} but it has those of ${theirs.name} (${theirs.key}), and the two cannot be compared. Choose that model with --model, or another index with --collection, or index again: npx glimpse index --rebuild <folders>`
  throw new SetupError('other_model', message)
}
