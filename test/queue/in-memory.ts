// A queue within this process for tests: the same guarantees as SQS, until the process ends.

import { count } from '../../src/observe/metrics.ts'
import { reportAs } from '../../src/observe/report.ts'
import { injectTrace } from '../../src/observe/trace.ts'
import { type Delivery, handleDelivery } from '../../src/queue/handler.ts'
import { type Message, type Queue, RETRY_MS, retryDelayMs, type SendOptions } from '../../src/queue/queue.ts'

export interface InMemoryOptions {
  /** Before one whose work failed comes again, for the first time. Default 5 s. */
  retryMs?: number
  now?: () => number
}

export interface InMemoryQueue extends Queue {
  /** Bodies of those that failed too often. */
  readonly deadLetters: readonly string[]
}

interface Waiting extends Delivery {
  /** Its work failed a moment ago. */
  isBackingOff: boolean
}

const CONCURRENCY = 4
const DEDUPE_MS = 5 * 60_000

export function inMemoryQueue({ retryMs = RETRY_MS, now = Date.now }: InMemoryOptions = {}): InMemoryQueue {
  const groups = new Map<string, Waiting[]>()
  const busy = new Set<string>()
  const sent = new Map<string, number>()
  const deadLetters: string[] = []
  /** Woken when there may be something to do. */
  const consumers = new Set<() => void>()
  const wake = () => {
    for (const dispatch of consumers) dispatch()
  }

  const next = (): { group: string; first: Waiting } | undefined => {
    for (const [group, [first]] of groups)
      if (first && !busy.has(group) && !first.isBackingOff) return { group, first }
    return undefined
  }

  const done = (group: string) => {
    const waiting = groups.get(group)!
    waiting.shift()
    if (waiting.length === 0) groups.delete(group)
  }

  const backOff = (message: Waiting) => {
    message.isBackingOff = true
    const over = () => {
      message.isBackingOff = false
      wake()
    }
    setTimeout(over, retryDelayMs(message.receives, retryMs)).unref()
  }

  return {
    deadLetters,
    check: async () => {},
    async send(message: Message, { deduplicationId, groupId }: SendOptions) {
      for (const [known, at] of sent) if (at + DEDUPE_MS <= now()) sent.delete(known)
      if (sent.has(deduplicationId)) return
      sent.set(deduplicationId, now())
      // As it would be after a wire: nobody changes it meanwhile.
      const waiting = {
        body: JSON.stringify(message),
        carrier: injectTrace(),
        receives: 0,
        isBackingOff: false,
      }
      groups.set(groupId, [...(groups.get(groupId) ?? []), waiting])
      count('glimpse_queue_messages_total', { outcome: 'sent' })
      wake()
    },
    consume(handler, { concurrency = CONCURRENCY, report = reportAs('message_failed') } = {}) {
      const running = new Set<Promise<void>>()
      let stopped = false
      const run = async (group: string, message: Waiting) => {
        message.receives++
        const outcome = await handleDelivery(message, handler, report)
        if (outcome === 'again' && !stopped) backOff(message)
        if (outcome === 'poison') deadLetters.push(message.body)
        if (outcome !== 'again') done(group)
      }
      const dispatch = () => {
        while (!stopped && running.size < concurrency) {
          const found = next()
          if (!found) return
          busy.add(found.group)
          const tracked = run(found.group, found.first).finally(() => {
            busy.delete(found.group)
            running.delete(tracked)
            wake()
          })
          running.add(tracked)
        }
      }
      consumers.add(dispatch)
      dispatch()
      return {
        async stop(graceMs) {
          stopped = true
          consumers.delete(dispatch)
          await Promise.race([Promise.allSettled(running), new Promise((end) => setTimeout(end, graceMs))])
        },
      }
    },
  }
}
