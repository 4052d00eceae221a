// Who may ask, and when: a bounded line in front of the engine that takes turns between tenants.
//
// Each ask takes a place before its body is read, so that a crowd costs neither memory nor time, and keeps it until its
// answer is there. The engine gets no more than `atOnce` of them; the rest wait here, where their order can be fair:
// the next turn is of the tenant served longest ago. Places are shared: one tenant alone may have all of them, several the
// same number each. Whoever has less than that gets more even when others took all before, up to as many again. With
// others about, each tenant has one ask at the engine at a time: a batch of one who floods would be all that others wait for.

import { BusyError } from '../errors.ts'

export interface LineOptions {
  /** Asks that may wait besides those the engine has. */
  places: number
  /** Asks the engine has at the same time: as many as it answers in one go. */
  atOnce: number
}

export interface Line {
  /** @param others asks the engine has from elsewhere. @throws BusyError `busy` */
  enter(tenant: string, others: number): Place
  /** Asks that have a place and not yet their turn. */
  readonly waiting: number
  /** Asks whose turn it is: the engine has them. */
  readonly running: number
  /** How long an ask that is turned away now should wait: a mean answer's time for each one ahead. */
  readonly waitMs: number
}

export interface Place {
  /** Resolves when the engine is free for it, with the milliseconds it waited. @throws BusyError `cancelled`, `deadline` */
  turn(signal: AbortSignal, deadlineMs?: number): Promise<number>
  /** The answer is there, or none will be. Whoever leaves twice leaves once. */
  leave(): void
}

interface Arrival {
  name: string
  at: number
}

interface Tenant {
  name: string
  /** Places and turns it has. */
  held: number
  /** Turns it has. */
  running: number
  /** Whether the turn it has was all it asked for. */
  isLight: boolean
  queue: (() => void)[]
  /** When it was served last, counted in turns. */
  servedAt: number
}

/** Batches that others may have had since whoever floods was served. */
const MANY = 2
/** So long after somebody asked they may ask again. */
const COMPANY_MS = 10_000
/** Before the first answer nothing is known about how long one takes. */
const FIRST_GUESS_MS = 2_000
/** Weight of the newest answer in the mean; of a batch all but the first seem to take no time. */
const NEWEST = 0.1

export function openLine({ places, atOnce }: LineOptions): Line {
  const tenants = new Map<string, Tenant>()
  const room = places + atOnce
  let waiting = 0
  let running = 0
  let turns = 0
  let meanMs = FIRST_GUESS_MS
  let isGuess = true
  let lastLeftAt = 0
  /** Who asked last, and last but them. */
  let latest: Arrival = { name: '', at: Number.NEGATIVE_INFINITY }
  let another = latest

  const note = (name: string) => {
    if (name !== latest.name) another = latest
    latest = { name, at: performance.now() }
  }
  const isAlone = (name: string) =>
    performance.now() - (latest.name === name ? another : latest).at > COMPANY_MS

  const isAble = (tenant: Tenant): boolean => {
    const { name, queue } = tenant
    if (queue.length === 0) return false
    if (tenant.running > 0) return isAlone(name)
    if (queue.length === 1 || turns - tenant.servedAt > MANY * atOnce) return true
    return ![...tenants.values()].some((other) => other.running > 0 && other.isLight)
  }

  const startNext = () => {
    while (running < atOnce) {
      const able = [...tenants.values()].filter(isAble)
      if (able.length === 0) return
      const next = able.reduce((first, each) => (each.servedAt < first.servedAt ? each : first))
      next.servedAt = ++turns
      next.isLight = next.queue.length === 1
      next.queue.shift()!()
    }
  }

  /** From the end of the answer before, if that was later than its own start: what one more ask costs the next. */
  const noteTime = (startedAt: number) => {
    const now = performance.now()
    const tookMs = now - Math.max(startedAt, lastLeftAt)
    meanMs = isGuess ? tookMs : meanMs + NEWEST * (tookMs - meanMs)
    isGuess = false
    lastLeftAt = now
  }

  return {
    get waiting() {
      return waiting
    },
    get running() {
      return running
    },
    get waitMs() {
      return meanMs * Math.max(1, waiting + running)
    },
    enter(name, others) {
      // A newcomer comes before whoever was served last, after all who wait longer: so none can be kept waiting by newcomers.
      const tenant = tenants.get(name) ?? {
        name,
        held: 0,
        running: 0,
        isLight: false,
        queue: [],
        servedAt: turns - 0.5,
      }
      note(name)
      const taken = waiting + running + others
      const parties = tenants.size + (tenants.has(name) ? 0 : 1)
      const share = Math.ceil(room / parties)
      const limit = parties > 1 ? 2 * room : room
      if (taken >= limit || tenant.held >= share) throw busy(taken, meanMs * Math.max(1, taken))
      tenants.set(name, tenant)
      tenant.held++
      waiting++
      let state: 'waiting' | 'running' | 'gone' = 'waiting'
      let startedAt = 0

      return {
        turn(signal, deadlineMs) {
          const askedAt = performance.now()
          return new Promise((resolve, reject) => {
            const settle = (then: () => void) => {
              clearTimeout(timer)
              signal.removeEventListener('abort', cancel)
              const at = tenant.queue.indexOf(start)
              if (at >= 0) tenant.queue.splice(at, 1)
              then()
            }
            const start = () => {
              state = 'running'
              waiting--
              running++
              tenant.running++
              startedAt = performance.now()
              settle(() => resolve(startedAt - askedAt))
            }
            const cancel = () => settle(() => reject(cancelled()))
            const timer =
              deadlineMs === undefined
                ? undefined
                : setTimeout(() => settle(() => reject(tooLate(deadlineMs))), deadlineMs)
            signal.addEventListener('abort', cancel)
            if (signal.aborted) return cancel()
            tenant.queue.push(start)
            startNext()
          })
        },
        leave() {
          if (state === 'gone') return
          if (state === 'running') {
            running--
            tenant.running--
            noteTime(startedAt)
          } else waiting--
          state = 'gone'
          tenant.held--
          if (tenant.held === 0) tenants.delete(name)
          startNext()
        },
      }
    },
  }
}

function busy(ahead: number, waitMs: number): BusyError {
  return new BusyError(
    'busy',
    `Glimpse is busy: ${ahead} others are ahead and this would be number ${ahead + 1}. ` +
      `Try again in ${secondsOf(waitMs)} s.`,
  )
}

const MAX_RETRY_AFTER_S = 60

/** As Retry-After says it: whole seconds, at least one, and no more than somebody waits. */
export function secondsOf(waitMs: number): number {
  return Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(waitMs / 1000)))
}

function cancelled(): BusyError {
  return new BusyError('cancelled', 'The ask was cancelled while it waited for its turn.')
}

function tooLate(deadlineMs: number): BusyError {
  return new BusyError(
    'deadline',
    `Expected an answer within ${deadlineMs} ms but others were ahead for longer. Ask again later.`,
  )
}
