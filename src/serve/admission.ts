// Admission control in front of the engine: bounded slots, fair by tenant.
//
// A request gets a slot before its body is read and keeps it until its response is complete. The capacity is
// `queueCapacity + concurrency` slots. A tenant without a slot is admitted even when all are in use, up to twice the
// capacity in all: otherwise one tenant could keep all others out.
//
// Tenants take turns by round robin: each time the engine has room, the least recently served tenant with a waiting request
// goes first. While several tenants are active, each has at most one request at the engine, and its next one waits until
// those that were there when the last one finished are done too. Otherwise one tenant could fill a whole batch, or join the
// batch of a single request, and delay all others. Row "fairness" of bench/load.ts: beside a flood, at most 2x the latency.

import { BusyError, cancelled } from '../errors.ts'
import { setGauge } from '../observe/metrics.ts'
import { startDeadline } from '../remote/deadline.ts'

interface AdmissionOptions {
  /** Requests that may wait besides those at the engine. */
  queueCapacity: number
  /** Requests at the engine at the same time: as many as it answers in one batch. */
  concurrency: number
}

interface Tenant {
  slots: number
  /** Starts each waiting request, oldest first. */
  queue: Set<() => void>
  /** Number of its last request that went to the engine, counted over all tenants. */
  servedAt: number
  /** Its next request waits for all up to this number, while several tenants are active. */
  waitsFor: number
}

export type AdmissionController = ReturnType<typeof createAdmission>
export type Slot = ReturnType<AdmissionController['admit']>

/** A tenant counts as active for this long after its last request, so that its next one does not meet a full batch. */
const CONTENTION_WINDOW_MS = 10_000
/** Assumed time of an answer until one is measured. */
const FIRST_GUESS_MS = 2_000
/** Weight of the newest answer in the mean. It is small because all but the first of a batch seem to take no time. */
const EWMA_WEIGHT = 0.1

export function createAdmission({ queueCapacity, concurrency }: AdmissionOptions) {
  const tenants = new Map<string, Tenant>()
  const capacity = queueCapacity + concurrency
  let waiting = 0
  /** Requests that went to the engine. */
  let served = 0
  /** The numbers of those still at the engine, oldest first. */
  const running = new Set<number>()
  let lastTenant: string | undefined
  let contendedUntil = 0
  let meanMs: number | undefined
  let lastReleaseAt = 0

  const startNext = () => {
    const isContended = tenants.size > 1 || performance.now() < contendedUntil
    while (running.size < concurrency) {
      const [oldest = Number.POSITIVE_INFINITY] = running
      const [next] = [...tenants.values()]
        .filter(({ queue, waitsFor }) => queue.size > 0 && (oldest > waitsFor || !isContended))
        .sort((one, other) => one.servedAt - other.servedAt)
      if (!next) break
      next.servedAt = next.waitsFor = ++served
      const [start] = next.queue
      start?.()
    }
    setGauge('glimpse_http_waiting', {}, waiting)
  }

  /** Measures from the end of the previous answer if that is later than the start: what one more request costs. */
  const recordServiceTime = (startedAt: number) => {
    const now = performance.now()
    const tookMs = now - Math.max(startedAt, lastReleaseAt)
    meanMs = meanMs === undefined ? tookMs : meanMs + EWMA_WEIGHT * (tookMs - meanMs)
    lastReleaseAt = now
  }
  const waitMsBehind = (ahead: number) => (meanMs ?? FIRST_GUESS_MS) * Math.max(1, ahead)

  return {
    /** Slots whose request is not at the engine yet. */
    waiting: () => waiting,
    /** Slots whose request is at the engine. */
    running: () => running.size,
    /** When a refused request should be sent again: the mean time of an answer, for each request ahead. */
    waitMs: () => waitMsBehind(waiting + running.size),
    /** @param others requests at the engine from other sources, such as chats. @throws BusyError `busy` */
    admit(name: string, others: number) {
      if (name !== (lastTenant ?? name)) contendedUntil = performance.now() + CONTENTION_WINDOW_MS
      lastTenant = name
      const ahead = waiting + running.size + others
      if (ahead >= (tenants.has(name) ? capacity : 2 * capacity)) {
        const message = `Glimpse is busy: ${ahead} requests are ahead and this would be number ${ahead + 1}. Try again in ${secondsOf(waitMsBehind(ahead))} s.`
        throw new BusyError('busy', message)
      }
      // A new tenant ranks ahead of the tenant served last and behind all that have waited longer. A stream of new tenants
      // therefore cannot starve a waiting one.
      const tenant = tenants.get(name) ?? { slots: 0, queue: new Set(), servedAt: served - 0.5, waitsFor: 0 }
      tenants.set(name, tenant)
      tenant.slots++
      waiting++
      setGauge('glimpse_http_waiting', {}, waiting)
      let number = 0
      let startedAt = 0
      let isReleased = false

      return {
        /** Resolves when the request may go to the engine, with the ms it waited. @throws BusyError `cancelled`, `deadline` */
        acquire(signal: AbortSignal, deadlineMs = Number.POSITIVE_INFINITY): Promise<number> {
          const askedAt = performance.now()
          const deadline = startDeadline(deadlineMs, signal)
          return new Promise<number>((resolve, reject) => {
            const start = () => {
              tenant.queue.delete(start)
              waiting--
              number = served
              running.add(number)
              startedAt = performance.now()
              resolve(startedAt - askedAt)
            }
            const stop = () => {
              tenant.queue.delete(start)
              reject(signal.aborted ? cancelled() : deadlineExceeded(deadlineMs))
            }
            deadline.signal.addEventListener('abort', stop)
            if (deadline.signal.aborted) return stop()
            tenant.queue.add(start)
            startNext()
          }).finally(deadline.end)
        },
        /** Ends the request. A second call does nothing. */
        release() {
          if (isReleased) return
          isReleased = true
          if (running.delete(number)) {
            tenant.waitsFor = served
            recordServiceTime(startedAt)
          } else waiting--
          tenant.slots--
          if (tenant.slots === 0) tenants.delete(name)
          startNext()
        },
      }
    },
  }
}

const MAX_RETRY_AFTER_S = 60

/** A value for Retry-After: whole seconds, from 1 to 60. */
export function secondsOf(waitMs: number): number {
  return Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(waitMs / 1000)))
}

function deadlineExceeded(deadlineMs: number): BusyError {
  const message = `Expected an answer within ${deadlineMs} ms but the request still waits behind others. Send it again later.`
  return new BusyError('deadline', message)
}
