// What engines elsewhere have in common: asks under way are counted, end with their deadline, their asker or the engine.

import type { Engine } from '../engine/engine.ts'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
import { type Limit, limitOf } from './deadline.ts'

/**
 * @param deadlineMs for asks that bring none, and as long as people are kept waiting where the other sleeps
 * @param ask one ask, within its limit
 */
export function engineElsewhere(
  name: string,
  deadlineMs: number,
  ask: (given: InferenceRequest, limit: Limit) => Promise<InferenceResult>,
): Engine {
  const closed = new AbortController()
  let load = 0
  return {
    model: { name },
    maxWaitMs: deadlineMs,
    get pending() {
      return load
    },
    ready: true,
    async answer(given, { signal, onToken } = {}) {
      const limit = limitOf(given.deadlineMs ?? deadlineMs, signal, closed.signal)
      load++
      try {
        limit.check()
        const reply = await ask(given, limit)
        // It comes as a whole: then so are its pieces.
        onToken?.(reply.text)
        return reply
      } finally {
        load--
        limit.end()
      }
    },
    async close() {
      closed.abort()
    },
  }
}
