// A condition -> its first true value, by polling. For tests.

/** Ends a test that hangs. No verdict depends on it. */
const HANGS_MS = 60_000

/** Returns the first result of `read` that is neither undefined nor false. @throws Error after 60 s */
export async function until<T>(read: () => T | Promise<T>): Promise<Exclude<T, undefined | false>> {
  for (const end = Date.now() + HANGS_MS; Date.now() < end; ) {
    const value = await read()
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`Expected this to become true within ${HANGS_MS} ms: ${read}`)
}
