// Messages that came without a picture a short while ago: one that is added to them by an edit is news.

export interface PicturelessMessages {
  add(id: string): void
  /** Whether it is one of them, and forgets it. */
  delete(id: string): boolean
}

/** Later nobody waits for an answer. */
const NEW_MS = 15 * 60_000
const MOST = 10_000

export function recentPictureless(now: () => number): PicturelessMessages {
  /** The oldest first. */
  const seen = new Map<string, number>()
  return {
    add(id) {
      seen.set(id, now())
      for (const [oldest, at] of seen) {
        if (seen.size <= MOST && now() - at < NEW_MS) break
        seen.delete(oldest)
      }
    },
    delete(id) {
      const at = seen.get(id)
      seen.delete(id)
      return at !== undefined && now() - at < NEW_MS
    },
  }
}
