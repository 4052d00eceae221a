// The ids of the current request and job, in an AsyncLocalStorage. Every log line has them.

import { AsyncLocalStorage } from 'node:async_hooks'
import { trace } from '@opentelemetry/api'

export interface Ids {
  request_id?: string
  job_id?: string
}

const storage = new AsyncLocalStorage<Ids>()

/** Runs `work` with these ids added to the current ones. */
export function withIds<T>(ids: Ids, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...ids }, work)
}

/** The current ids, and that of the active OpenTelemetry trace. */
export function currentIds(): Ids & { trace_id?: string } {
  const traceId = trace.getActiveSpan()?.spanContext().traceId
  return { ...storage.getStore(), ...(traceId === undefined ? {} : { trace_id: traceId }) }
}
