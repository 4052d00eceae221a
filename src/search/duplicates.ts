// A collection -> groups of pictures that are the same file, or look the same: recompressed, resized, slightly edited.
//
// Files are compared by sha256, pictures by their similarity, query by query. No model is needed.

import { inParallel } from '../concurrency.ts'
import { meanVector, pictureSimilarity } from './score.ts'
import type { Collection, Filter, Picture } from './store.ts'

export interface DuplicateGroup {
  pictures: Picture[]
  /** The least similarity by which a picture came into the group; 1 for equal files. */
  similarity: number
}

/** Where the model's card says no other. docs/search.md says how it is measured. */
const DEFAULT_SIMILARITY = 0.98
/** Pictures compared with each one: a group may be larger. */
const NEIGHBOURS = 20
/** Pictures whose vectors are in memory at once: 16 MB. */
const PAGE = 1_000
const PARALLEL = 4

/** Groups of two or more, the largest first. @throws UpstreamError `index_failed`; the reason of `signal` */
export async function findDuplicates(
  collection: Collection,
  options: {
    /** Default: what the model's card says, else 0.98. */
    leastSimilarity?: number
    filter?: Filter
    onProgress?: (done: number, total: number) => void
    signal?: AbortSignal
  } = {},
): Promise<DuplicateGroup[]> {
  const { filter = {}, onProgress, signal } = options
  const { count, width, duplicates = DEFAULT_SIMILARITY } = collection.model
  const { leastSimilarity = duplicates } = options
  const pictures = (await collection.list(filter)).filter(({ problem }) => !problem)
  const groups = disjointSets(pictures.map(({ id }) => id))
  const first = new Map<string, string>()
  for (const { id, sha256 } of pictures) {
    const twin = first.get(sha256)
    if (twin === undefined) first.set(sha256, id)
    else groups.join(twin, id, 1)
  }
  const unique = [...first.values()]
  let done = 0
  for (let at = 0; at < unique.length; at += PAGE) {
    const page = await collection.read({ ids: unique.slice(at, at + PAGE) })
    await inParallel(page, PARALLEL, async ({ id, vectors }) => {
      signal?.throwIfAborted()
      const near = await collection.candidates(meanVector(vectors, width), 'mean', filter, NEIGHBOURS)
      for (const other of near) {
        if (other.id === id) continue
        const similarity = pictureSimilarity(vectors, other.vectors, count)
        if (similarity >= leastSimilarity) groups.join(id, other.id, similarity)
      }
      onProgress?.(++done, unique.length)
    })
  }
  const byId = new Map(pictures.map((picture) => [picture.id, picture]))
  return groups
    .all()
    .filter(({ members }) => members.length > 1)
    .map(({ members, least }) => ({ pictures: members.map((id) => byId.get(id)!), similarity: least }))
    .sort((one, other) => other.pictures.length - one.pictures.length)
}

/** Union-find with the least similarity of each set. Ids that it was not made with are ignored. */
function disjointSets(ids: readonly string[]) {
  const parent = new Map(ids.map((id) => [id, id]))
  const least = new Map<string, number>()
  const rootOf = (id: string): string => {
    let root = id
    while (parent.get(root) !== root) root = parent.get(root)!
    parent.set(id, root)
    return root
  }
  return {
    join(one: string, other: string, similarity: number): void {
      if (!parent.has(one) || !parent.has(other)) return
      const [a, b] = [rootOf(one), rootOf(other)]
      if (a === b) return
      parent.set(b, a)
      least.set(a, Math.min(similarity, least.get(a) ?? 1, least.get(b) ?? 1))
    },
    all() {
      const sets = new Map<string, string[]>()
      for (const id of ids) {
        const root = rootOf(id)
        const members = sets.get(root)
        if (members) members.push(id)
        else sets.set(root, [id])
      }
      return [...sets].map(([root, members]) => ({ members, least: least.get(root) ?? 1 }))
    },
  }
}
