// A collection in memory, exact and without files: for tests of what uses one.

import { textSimilarity } from '../../src/search/score.ts'
import type {
  Collection,
  Filter,
  IndexedPicture,
  ModelOfVectors,
  Picture,
  SearchStore,
} from '../../src/search/store.ts'
import { FAKE_MODEL } from './fake.ts'

export interface InMemoryCollection extends Collection {
  rows: Map<string, Picture | IndexedPicture>
  /** Number of rows in each call of upsert. */
  commits: number[]
}

export function inMemoryCollection(model = FAKE_MODEL): InMemoryCollection {
  const rows = new Map<string, Picture | IndexedPicture>()
  const commits: number[] = []
  let settled = 0
  let changes = 0
  const isIndexed = (row: Picture | IndexedPicture): row is IndexedPicture => 'vectors' in row
  const passes = (row: Picture, { ids, under, sha256, fromMs, toMs }: Filter) =>
    (ids?.includes(row.id) ?? true) &&
    (under?.some((start) => row.id.startsWith(start)) ?? true) &&
    (sha256 === undefined || row.sha256 === sha256) &&
    (fromMs === undefined || row.dateMs >= fromMs) &&
    (toMs === undefined || row.dateMs <= toMs)
  const found = (filter: Filter) => [...rows.values()].filter((row) => passes(row, filter))
  return {
    model,
    rows,
    commits,
    async upsert(pictures) {
      commits.push(pictures.length)
      changes += pictures.length
      for (const picture of pictures) rows.set(picture.id, picture)
    },
    async remove(ids) {
      changes += ids.length
      for (const id of ids) rows.delete(id)
    },
    read: async (filter) => found(filter).filter(isIndexed),
    async list(filter, page) {
      const plain = found(filter).map((row): Picture => {
        const { vectors: _, ...picture } = row as IndexedPicture
        return picture
      })
      plain.sort((one, other) => (one.id < other.id ? -1 : 1))
      return page ? plain.slice(page.offset, page.offset + page.limit) : plain
    },
    count: async (filter = {}) => found(filter).filter(isIndexed).length,
    async candidates(query, _, filter, count) {
      const alike = found(filter).filter(isIndexed)
      const score = new Map(alike.map((row) => [row, textSimilarity(row.vectors, query)]))
      return alike.sort((one, other) => score.get(other)! - score.get(one)!).slice(0, count)
    },
    isSettled: async () => settled === changes,
    async settle() {
      settled = changes
    },
  }
}

export function inMemorySearchStore(): SearchStore & { collections: Map<string, InMemoryCollection> } {
  const collections = new Map<string, InMemoryCollection>()
  return {
    location: 'memory',
    collections,
    open: async (name) => collections.get(name),
    async create(name, model: ModelOfVectors) {
      const made = collections.get(name) ?? inMemoryCollection(model)
      collections.set(name, made)
      return made
    },
    names: async () => [...collections.keys()].sort(),
    async drop(name) {
      collections.delete(name)
    },
    close() {},
  }
}
