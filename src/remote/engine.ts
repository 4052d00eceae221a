// What engines elsewhere have in common: asks under way are counted, end with their deadline, their asker or the engine.

import type { Engine } from '../engine/engine.ts'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
import { type Deadline, startDeadline } from './deadline.ts'

/**
 * @param deadlineMs for asks that bring none, and as long as people are kept waiting where the other sleeps
 * @param ask one ask, within its limit
 */
export function remoteEngine(
  name: string,
  deadlineMs: number,
  ask: (request: InferenceRequest, deadline: Deadline) => Promise<InferenceResult>,
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
    async answer(request, { signal, onToken } = {}) {
      const deadline = startDeadline(request.deadlineMs ?? deadlineMs, signal, closed.signal)
      load++
      try {
        deadline.throwIfEnded()
        const reply = await ask(request, deadline)
        // It comes as a whole: then so are its pieces.
        onToken?.(reply.text)
        return reply
      } finally {
        load--
        deadline.end()
      }
    },
    async close() {
      closed.abort()
    },
  }
}
