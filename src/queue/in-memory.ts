// The queue within this process, to try out what otherwise needs SQS: what waits in it is lost when the process ends.

import { log } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import { carrierOut } from '../observe/trace.ts'
import { type Delivery, workOn } from './handler.ts'
import { type About, AGAIN_MS, againAfterMs, DEDUPE_MS, type Message, type Queue } from './queue.ts'

export interface MemoryOptions {
  /** Before one whose work failed comes again, for the first time. Default 5 s. */
  againMs?: number
  now?: () => number
}

export interface MemoryQueue extends Queue {
  /** Bodies of those that failed too often. */
  readonly dead: readonly string[]
}

interface Waiting extends Delivery {
  /** Its work failed a moment ago. */
  isResting: boolean
}

const CONCURRENCY = 4

export function memoryQueue({ againMs = AGAIN_MS, now = Date.now }: MemoryOptions = {}): MemoryQueue {
  const groups = new Map<string, Waiting[]>()
  const busy = new Set<string>()
  const sent = new Map<string, number>()
  const dead: string[] = []
  /** Woken when there may be something to do. */
  const consumers = new Set<() => void>()
  const wake = () => {
    for (const look of consumers) look()
  }

  const next = (): { group: string; first: Waiting } | undefined => {
    for (const [group, [first]] of groups)
      if (first && !busy.has(group) && !first.isResting) return { group, first }
    return undefined
  }

  const done = (group: string) => {
    const waiting = groups.get(group)!
    waiting.shift()
    if (waiting.length === 0) groups.delete(group)
  }

  const rest = (message: Waiting) => {
    message.isResting = true
    const over = () => {
      message.isResting = false
      wake()
    }
    setTimeout(over, againAfterMs(message.receives, againMs)).unref()
  }

  return {
    dead,
    check: async () => {},
    async send(message: Message, { id, group }: About) {
      for (const [known, at] of sent) if (at + DEDUPE_MS <= now()) sent.delete(known)
      if (sent.has(id)) return
      sent.set(id, now())
      // As it would be after a wire: nobody changes it meanwhile.
      const waiting = { body: JSON.stringify(message), carrier: carrierOut(), receives: 0, isResting: false }
      groups.set(group, [...(groups.get(group) ?? []), waiting])
      count('glimpse_queue_messages_total', { outcome: 'sent' })
      wake()
    },
    consume(work, { concurrency = CONCURRENCY, report = reportAs('message_failed') } = {}) {
      const running = new Set<Promise<void>>()
      let stopped = false
      const run = async (group: string, message: Waiting) => {
        message.receives++
        const outcome = await workOn(message, work, report)
        if (outcome === 'again' && !stopped) rest(message)
        if (outcome === 'poison') dead.push(message.body)
        if (outcome !== 'again') done(group)
      }
      const look = () => {
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
      consumers.add(look)
      look()
      return {
        async stop(graceMs) {
          stopped = true
          consumers.delete(look)
          await Promise.race([Promise.allSettled(running), new Promise((end) => setTimeout(end, graceMs))])
          const left = [...groups.values()].reduce((sum, waiting) => sum + waiting.length, 0)
          if (left > 0) log.info('memory_queue_left', { messages: left })
        },
      }
    },
  }
}
