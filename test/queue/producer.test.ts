// What goes into the queue, and what of it comes to be answered: of two deliveries of one message the fuller.

import { beforeEach, describe, expect, test } from 'vitest'
import { openPreferences, type Preferences } from '../../src/chat/preferences.ts'
import type { Question } from '../../src/chat/question.ts'
import { UpstreamError } from '../../src/errors.ts'
import { queueProducer } from '../../src/queue/producer.ts'
import type { Message, Queue } from '../../src/queue/queue.ts'
import type { Store } from '../../src/store/store.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { turns } from '../turns.ts'
import { until } from '../until.ts'
import { inMemoryQueue } from './in-memory.ts'

let queue: Queue
let store: Store
let preferences: Preferences
/** What is kept back, until `pass`. */
let sleeping: (() => void)[]
let lasts = 0
const front = () =>
  queueProducer({
    queue,
    store,
    preferences,
    keepMs: 86_400_000,
    sleep: () => new Promise((resolve) => void sleeping.push(resolve)),
  })

beforeEach(() => {
  queue = inMemoryQueue()
  store = inMemoryStore()
  preferences = openPreferences(store)
  sleeping = []
})

const question = (id: string, more: Partial<Question> = {}): Question => ({
  id,
  platform: 'test',
  trigger: 'mention',
  asker: { id: 'ann' },
  text: 'how many?',
  pictures: [],
  conversations: [`thread ${id}`],
  channel: 'c',
  askedAt: 1_000_000,
  route: {},
  ...more,
})
const PICTURES = [{ id: 'p', url: 'https://x/' }]
/** All that is in the queue; what is sent last in its group comes last. */
async function sent(groupId = 'c'): Promise<Message[]> {
  const came: Message[] = []
  const deduplicationId = `last ${++lasts}`
  const consumer = queue.consume(async (message) => void came.push(message))
  await queue.send({ kind: 'withdraw', id: deduplicationId }, { deduplicationId, groupId })
  await until(() => came.some((message) => message.kind === 'withdraw' && message.id === deduplicationId))
  await consumer.stop(60_000)
  return came.slice(0, -1)
}
const picturesOf = (messages: readonly Message[]) =>
  messages.map((each) => each.kind === 'question' && each.question.pictures.length)

describe('of two deliveries of one message, a bare one that may wait and a full one', () => {
  test('the full one is answered when the bare one comes first', async () => {
    const here = front()
    const bare = here.submit(question('a'), 1_500)
    await here.submit(question('a', { pictures: PICTURES }))
    for (const pass of sleeping) pass()
    await bare
    expect(picturesOf(await sent())).toEqual([1])
  })

  test('the full one is answered when it comes first', async () => {
    const here = front()
    await here.submit(question('a', { pictures: PICTURES }))
    const bare = here.submit(question('a'), 1_500)
    for (const pass of sleeping) pass()
    await bare
    expect(picturesOf(await sent())).toEqual([1])
  })

  test('in two processes as well', async () => {
    const bare = front().submit(question('a'), 1_500)
    await front().submit(question('a', { pictures: PICTURES }))
    for (const pass of sleeping) pass()
    await bare
    expect(picturesOf(await sent())).toEqual([1])
  })

  test('the bare one is answered when no other comes, and `idle` waits for it', async () => {
    const here = front()
    void here.submit(question('a'), 1_500)
    let isIdle = false
    const idle = here.drained().then(() => {
      isIdle = true
    })
    await turns(3)
    expect(isIdle).toBe(false)
    for (const pass of sleeping) pass()
    await idle
    expect(picturesOf(await sent())).toEqual([0])
  })
})

test('what is not for us is not sent: talk in threads, pictures where captions are not automatic', async () => {
  const here = front()
  await here.submit(question('a', { trigger: 'follow_up' }))
  await here.submit(question('b', { trigger: 'automatic', pictures: PICTURES }))
  expect(await sent()).toEqual([])
  await preferences.setAutomatic('c', true)
  await here.submit(question('d', { trigger: 'automatic', pictures: PICTURES }))
  expect(await sent()).toHaveLength(1)
})

test('a follow-up to a question that still waits is sent behind it', async () => {
  const here = front()
  await here.submit(question('a', { pictures: PICTURES }))
  await here.submit(question('b', { trigger: 'follow_up', conversations: ['thread a'] }))
  expect((await sent('thread a')).map((each) => each.kind === 'question' && each.question.id)).toEqual([
    'a',
    'b',
  ])
})

test('the group is the conversation: the thread, the asker in a channel of Discord, the channel in direct messages', async () => {
  const groups: string[] = []
  queue = { ...queue, send: async (_, { groupId }) => void groups.push(groupId) }
  const here = front()
  // The first message of a thread, and a message in it.
  await here.submit(question('C/1', { conversations: ['C/1'] }))
  await here.submit(question('C/2', { conversations: ['C/1'] }))
  await here.submit(question('C/3', { conversations: ['C/3'] }))
  await here.submit(question('m1', { conversations: ['m1', 'asker/c/ann'] }))
  await here.submit(question('m2', { conversations: ['reply', 'm2', 'asker/c/ann'] }))
  await here.submit(question('D/1', { trigger: 'direct', conversations: ['D/1', 'D'] }))
  await here.submit(question('D/2', { trigger: 'direct', conversations: ['D'] }))
  expect(groups).toEqual(['C/1', 'C/1', 'C/3', 'asker/c/ann', 'reply', 'test/c', 'test/c'])
})

test('while the store fails, every question is sent: the consumer decides', async () => {
  const fail = () => Promise.reject(new UpstreamError('state_failed', 'No.'))
  store = { ...store, read: fail, replace: fail, create: fail }
  preferences = openPreferences(store)
  const here = front()
  await here.submit(question('a'))
  await here.submit(question('b', { trigger: 'follow_up', conversations: ['thread a'] }))
  await here.submit(question('d', { trigger: 'automatic', pictures: PICTURES, conversations: ['thread a'] }))
  expect(await sent('thread a')).toHaveLength(3)
})

test('that a message is gone overtakes what waits in its channel', async () => {
  const here = front()
  await here.submit(question('a'))
  await here.retract('a')
  const came: string[] = []
  let go = () => {}
  const consumer = queue.consume(async (message) => {
    came.push(message.kind)
    if (message.kind === 'question') await new Promise<void>((resolve) => (go = resolve))
  })
  await until(() => came.length === 2)
  expect(came).toEqual(['question', 'withdraw'])
  go()
  await consumer.stop(60_000)
})

test('what the queue does not take is not accepted', async () => {
  queue = { ...queue, send: () => Promise.reject(new Error('no')) }
  await expect(front().submit(question('a'))).rejects.toThrow('no')
})
