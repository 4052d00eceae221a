// Guarantees of every queue; run against each implementation.

import { expect, test } from 'vitest'
import type { Message, MessageHandler, Queue } from '../../src/queue/queue.ts'
import { turns } from '../turns.ts'
import { until } from '../until.ts'

/** Bounds a stop; running work ends by itself. */
const HANGS_MS = 60_000

export interface Opened {
  queue: Queue
  /** Number of messages in the dead-letter queue. */
  dead: () => Promise<number>
}

/** `open` returns an empty queue that retries failed messages soon. */
export function conformsToQueue(open: () => Promise<Opened>): void {
  const message = (id: string): Message => ({ kind: 'withdraw', id })
  const send = (queue: Queue, deduplicationId: string, groupId = 'g') =>
    queue.send(message(deduplicationId), { deduplicationId, groupId })
  const idOf = (sent: Message) => (sent.kind === 'withdraw' ? sent.id : '')

  test('what was sent comes, whole, also when nobody listened yet', async () => {
    const { queue } = await open()
    await send(queue, 'a')
    const came: Message[] = []
    const consumer = queue.consume(async (sent) => void came.push(sent))
    await send(queue, 'b', 'other')
    await until(() => came.length === 2)
    await consumer.stop(HANGS_MS)
    expect(came.sort((one, other) => (idOf(one) < idOf(other) ? -1 : 1))).toEqual([
      message('a'),
      message('b'),
    ])
  })

  test('those of a group come one at a time and in their order, while other groups go on', async () => {
    const { queue } = await open()
    const ids = ['1', '2', '3', '4', '5', '6']
    for (const id of ids) await send(queue, id, 'slow')
    await send(queue, 'quick', 'quick')
    const came: string[] = []
    let atOnce = 0
    let most = 0
    const handler: MessageHandler = async (sent) => {
      if (idOf(sent) === 'quick') return void came.push('quick')
      most = Math.max(most, ++atOnce)
      // The other group continues; an out-of-order message would have arrived by then.
      if (idOf(sent) === '1') await until(() => came.includes('quick'))
      atOnce--
      came.push(idOf(sent))
    }
    const consumer = queue.consume(handler)
    await until(() => came.length === 7)
    await consumer.stop(HANGS_MS)
    expect(came.filter((id) => id !== 'quick')).toEqual(ids)
    expect(most).toBe(1)
  })

  test('one that is sent twice comes once', async () => {
    const { queue } = await open()
    for (const id of ['a', 'a', 'b', 'a', 'last']) await send(queue, id)
    const came: string[] = []
    const consumer = queue.consume(async (sent) => void came.push(idOf(sent)))
    await until(() => came.includes('last'))
    await consumer.stop(HANGS_MS)
    expect(came).toEqual(['a', 'b', 'last'])
  })

  test('one whose work failed comes again, before those after it', async () => {
    const { queue } = await open()
    for (const id of ['a', 'b']) await send(queue, id)
    const came: string[] = []
    const handler: MessageHandler = async (sent) => {
      came.push(idOf(sent))
      if (came.length < 3) throw new Error('not yet')
    }
    const consumer = queue.consume(handler, { report: () => {} })
    await until(() => came.includes('b'))
    await consumer.stop(HANGS_MS)
    expect(came).toEqual(['a', 'a', 'a', 'b'])
  })

  test('one that fails five times moves to the dead-letter queue, and its neighbours continue', async () => {
    const { queue, dead } = await open()
    for (const id of ['poison', 'after it']) await send(queue, id)
    await send(queue, 'beside it', 'other')
    const came: string[] = []
    const reported: unknown[] = []
    const consumer = queue.consume(
      async (sent) => {
        came.push(idOf(sent))
        if (idOf(sent) === 'poison') throw new Error('poison')
      },
      { report: (error) => reported.push(error) },
    )
    await until(() => came.includes('after it'))
    await consumer.stop(HANGS_MS)
    expect(came.filter((id) => id === 'poison')).toHaveLength(5)
    expect(came).toContain('beside it')
    expect(await dead()).toBe(1)
    expect(reported.length).toBeGreaterThanOrEqual(5)
  })

  test('after a stop nothing more is taken; what was left comes to the next', async () => {
    const { queue } = await open()
    const came = { first: [] as string[], second: [] as string[] }
    const first = queue.consume(async (sent) => void came.first.push(idOf(sent)))
    await send(queue, 'a')
    await until(() => came.first.length === 1)
    await first.stop(HANGS_MS)
    const ids = Array.from({ length: 8 }, (_, index) => `b${index}`)
    for (const id of ids) await send(queue, id, id)
    const second = queue.consume(async (sent) => void came.second.push(idOf(sent)))
    await until(() => came.second.length + came.first.length === 1 + ids.length)
    await second.stop(HANGS_MS)
    expect({ ...came, second: came.second.sort() }).toEqual({ first: ['a'], second: ids })
  })

  test('a stop waits for what is at work', async () => {
    const { queue } = await open()
    const happened: string[] = []
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const consumer = queue.consume(async () => {
      happened.push('begun')
      await released
      happened.push('done')
    })
    await send(queue, 'a')
    await until(() => happened.length === 1)
    const stopped = consumer.stop(HANGS_MS).then(() => happened.push('stopped'))
    // Enough for a stop that does not wait for running work.
    await turns()
    release()
    await stopped
    expect(happened).toEqual(['begun', 'done', 'stopped'])
  })
}
