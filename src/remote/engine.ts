// A request -> a result from another machine. Common to all remote engines.
//
// A request ends with its deadline, with its caller's signal or with the engine, whichever is first.

import type { Engine, Hooks } from '../engine/engine.ts'
import type { BaseRequest, BaseResult } from '../engine/request.ts'
import type { RequestOf, ResultOf, TaskName } from '../engine/tasks.ts'
import { type Deadline, startDeadline } from './deadline.ts'

/**
 * @param defaultDeadlineMs for requests without a deadline of their own
 * @param send sends one request and awaits its result
 */
export function remoteEngine(
  name: string,
  defaultDeadlineMs: number,
  send: (request: BaseRequest, deadline: Deadline, job?: string) => Promise<BaseResult>,
): Engine {
  const closed = new AbortController()
  let pending = 0
  return {
    model: { name },
    maxWaitMs: defaultDeadlineMs,
    get pending() {
      return pending
    },
    ready: true,
    async answer<N extends TaskName>(request: RequestOf<N>, { signal, onToken, job }: Hooks = {}) {
      const deadline = startDeadline(request.deadlineMs ?? defaultDeadlineMs, signal, closed.signal)
      pending++
      try {
        deadline.throwIfEnded()
        const result = await send(request, deadline, job)
        onToken?.(result.text) // the whole text at once: remote engines do not stream
        return result as ResultOf<N>
      } finally {
        pending--
        deadline.end()
      }
    },
    async close() {
      closed.abort()
    },
  }
}
