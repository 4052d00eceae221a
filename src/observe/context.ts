// Which request or job the running code works for: every log line and metric-less failure carries it, without being
// handed through each call.

import { AsyncLocalStorage } from 'node:async_hooks'
import { trace } from '@opentelemetry/api'

export interface Ids {
  request_id?: string
  job_id?: string
}

const storage = new AsyncLocalStorage<Ids>()

/** Runs `work` with these ids beside those it has already. */
export function withIds<T>(ids: Ids, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...ids }, work)
}

/** What a log line says of whom it is about. */
export function currentIds(): Ids & { trace_id?: string } {
  const traceId = trace.getActiveSpan()?.spanContext().traceId
  return { ...storage.getStore(), ...(traceId === undefined ? {} : { trace_id: traceId }) }
}
