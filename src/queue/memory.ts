// The queue within this process, to try out what otherwise needs SQS: what waits in it is lost when the process ends.

import { count } from '../observe/metrics.ts'
import { type About, DEDUPE_MS, MAX_RECEIVES, type Message, messageSchema, type Queue } from './queue.ts'

export interface MemoryOptions {
  /** Before one whose work failed comes again. Default 5 s. */
  againMs?: number
  now?: () => number
}

export interface MemoryQueue extends Queue {
  /** Those that failed too often. */
  readonly dead: readonly Message[]
}

interface Waiting {
  message: Message
  receives: number
  /** Its work failed a moment ago. */
  isResting: boolean
}

const AGAIN_MS = 5_000
const CONCURRENCY = 4

export function memoryQueue({ againMs = AGAIN_MS, now = Date.now }: MemoryOptions = {}): MemoryQueue {
  const groups = new Map<string, Waiting[]>()
  const busy = new Set<string>()
  const sent = new Map<string, number>()
  const dead: Message[] = []
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

  return {
    dead,
    async send(message: Message, { id, group }: About) {
      for (const [known, at] of sent) if (at + DEDUPE_MS <= now()) sent.delete(known)
      if (sent.has(id)) return
      sent.set(id, now())
      // As it would be after a wire: nobody changes it meanwhile.
      const copy = messageSchema.parse(JSON.parse(JSON.stringify(message)))
      groups.set(group, [...(groups.get(group) ?? []), { message: copy, receives: 0, isResting: false }])
      count('glimpse_queue_messages_total', { outcome: 'sent' })
      wake()
    },
    consume(work, { concurrency = CONCURRENCY, report = () => {} } = {}) {
      const running = new Set<Promise<void>>()
      let stopped = false
      const look = () => {
        while (!stopped && running.size < concurrency) {
          const found = next()
          if (!found) return
          const { group, first } = found
          busy.add(group)
          first.receives++
          const task = work(first.message).then(
            () => {
              done(group)
              count('glimpse_queue_messages_total', { outcome: 'done' })
            },
            (error: unknown) => {
              report(error)
              if (first.receives < MAX_RECEIVES) {
                first.isResting = true
                setTimeout(() => {
                  first.isResting = false
                  wake()
                }, againMs)
                return count('glimpse_queue_messages_total', { outcome: 'again' })
              }
              done(group)
              dead.push(first.message)
              count('glimpse_queue_messages_total', { outcome: 'poison' })
            },
          )
          const tracked = task.finally(() => {
            busy.delete(group)
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
        },
      }
    },
  }
}
