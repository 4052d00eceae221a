// What every queue promises, whatever it is made of: run against each of them.

import { expect, test } from 'vitest'
import type { Message, Queue, Work } from '../../src/queue/queue.ts'
import { turns } from '../turns.ts'
import { until } from '../until.ts'

export interface Opened {
  queue: Queue
  /** How many lie with the dead letters. */
  dead: () => Promise<number>
}

/** `open` gives an empty queue in which what failed comes again soon. */
export function keepsItsPromises(open: () => Promise<Opened>): void {
  const message = (id: string): Message => ({ kind: 'withdraw', id })
  const send = (queue: Queue, id: string, group = 'g') => queue.send(message(id), { id, group })
  const idOf = (sent: Message) => (sent.kind === 'withdraw' ? sent.id : '')

  test('what was sent comes, whole, also when nobody listened yet', async () => {
    const { queue } = await open()
    await send(queue, 'a')
    const came: Message[] = []
    const consumer = queue.consume(async (sent) => void came.push(sent))
    await send(queue, 'b', 'other')
    await until(() => came.length === 2)
    await consumer.stop(1_000)
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
    const work: Work = async (sent) => {
      if (idOf(sent) === 'quick') return void came.push('quick')
      most = Math.max(most, ++atOnce)
      await turns(2)
      // The other group goes on meanwhile.
      if (idOf(sent) === '6') await until(() => came.includes('quick'))
      atOnce--
      came.push(idOf(sent))
    }
    const consumer = queue.consume(work)
    await until(() => came.length === 7)
    await consumer.stop(1_000)
    expect(came.filter((id) => id !== 'quick')).toEqual(ids)
    expect(most).toBe(1)
  })

  test('one that is sent twice comes once', async () => {
    const { queue } = await open()
    for (const id of ['a', 'a', 'b', 'a']) await send(queue, id)
    const came: string[] = []
    const consumer = queue.consume(async (sent) => void came.push(idOf(sent)))
    await until(() => came.length >= 2)
    await turns()
    await consumer.stop(1_000)
    expect(came).toEqual(['a', 'b'])
  })

  test('one whose work failed comes again, before those after it', async () => {
    const { queue } = await open()
    for (const id of ['a', 'b']) await send(queue, id)
    const came: string[] = []
    const work: Work = async (sent) => {
      came.push(idOf(sent))
      if (came.length < 3) throw new Error('not yet')
    }
    const consumer = queue.consume(work, { report: () => {} })
    await until(() => came.includes('b'))
    await consumer.stop(1_000)
    expect(came).toEqual(['a', 'a', 'a', 'b'])
  })

  test('one that fails five times lies with the dead letters, and its neighbours go on', async () => {
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
    await consumer.stop(1_000)
    expect(came.filter((id) => id === 'poison')).toHaveLength(5)
    expect(came).toContain('beside it')
    expect(await dead()).toBe(1)
    expect(reported.length).toBeGreaterThanOrEqual(5)
  })

  test('after a stop nothing more is taken; what was left comes to the next', async () => {
    const { queue } = await open()
    const came: string[] = []
    const first = queue.consume(async (sent) => void came.push(idOf(sent)))
    await send(queue, 'a')
    await until(() => came.length === 1)
    await first.stop(1_000)
    await send(queue, 'b')
    await turns()
    expect(came).toEqual(['a'])
    const second = queue.consume(async (sent) => void came.push(idOf(sent)))
    await until(() => came.length === 2)
    await second.stop(1_000)
  })

  test('a stop waits for what is at work', async () => {
    const { queue } = await open()
    let isDone = false
    let isAt = false
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const consumer = queue.consume(async () => {
      isAt = true
      await released
      isDone = true
    })
    await send(queue, 'a')
    await until(() => isAt)
    const stopped = consumer.stop(60_000)
    release()
    await stopped
    expect(isDone).toBe(true)
  })
}
