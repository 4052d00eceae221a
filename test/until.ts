// Waiting for a fact, in tests.

/** Ends a test that hangs; no verdict depends on it. */
const HANGS_MS = 60_000

/** What `see` returns once it is neither undefined nor false. */
export async function until<T>(see: () => T | Promise<T>): Promise<Exclude<T, undefined | false>> {
  for (const end = Date.now() + HANGS_MS; Date.now() < end; ) {
    const seen = await see()
    if (seen !== undefined && seen !== false) return seen as Exclude<T, undefined | false>
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`Expected this to become true within ${HANGS_MS} ms: ${see}`)
}
