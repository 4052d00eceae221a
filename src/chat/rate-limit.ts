// Limits how often one person may ask, so that one person cannot take the whole model. Counted in the store, for all
// processes that share it.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { type Store, type Time, updateJson } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'

export type RateLimiter = ReturnType<typeof createRateLimiter>

const windowsSchema = z.array(z.object({ endsAt: z.number(), count: z.number() }))

/** Fixed windows that begin with a person's first question. A question refused by one window does not count in the other. */
export function createRateLimiter(
  limits: { perMinute: number; perHour: number },
  { store, time }: { store: Store; time: Time },
) {
  const windows = [
    { most: limits.perMinute, ms: 60_000 },
    { most: limits.perHour, ms: HOUR_MS },
  ]
  return {
    /**
     * Counts a question and returns undefined; over a limit, returns the milliseconds until the next is allowed.
     * @throws UpstreamError of the store
     */
    async consume(person: string): Promise<number | undefined> {
      let waitMs = 0
      const next = (before: z.infer<typeof windowsSchema> = []) => {
        const now = time.now()
        const current = windows.map(({ ms }, i) => {
          const found = before[i]
          return found && found.endsAt > now ? found : { endsAt: now + ms, count: 0 }
        })
        waitMs = Math.max(
          ...current.map(({ endsAt, count }, i) => (count < windows[i]!.most ? 0 : endsAt - now)),
        )
        return waitMs > 0 ? undefined : current.map((each) => ({ ...each, count: each.count + 1 }))
      }
      await updateJson(store, `limits/${sha256Hex(person)}`, windowsSchema.parse, HOUR_MS, next, time)
      return waitMs > 0 ? waitMs : undefined
    },
  }
}
