// Concurrent changes of a conversation: none is lost, and one that cannot be made is an error.

import { beforeEach, describe, expect, test } from 'vitest'
import { deleteTurn, loadConversation, recordExchange } from '../../src/chat/conversation.ts'
import { type Claim, openJobs } from '../../src/chat/jobs.ts'
import type { Question } from '../../src/chat/question.ts'
import type { Store } from '../../src/store/store.ts'
import { inMemoryStore } from './in-memory-store.ts'

const DAY_MS = 86_400_000
const PICTURE = { id: 'p', url: 'https://x/' }
const clock = { now: 0 }
let waits: number[]
const time = {
  now: () => clock.now,
  sleep: async (ms: number) => {
    waits.push(ms)
    clock.now += ms
  },
}
let store: Store
beforeEach(() => {
  clock.now = 0
  waits = []
  store = inMemoryStore(() => 0)
})

const question = (id: string): Question => ({
  id,
  platform: 'test',
  trigger: 'mention',
  asker: { id: 'ann' },
  text: 'how many?',
  pictures: [PICTURE],
  conversations: ['thread'],
  channel: 'c',
  askedAt: 0,
  route: {},
})
const kept = (to: Store) => ({ store: to, keepMs: DAY_MS, time })
const say = (to: Store, id: string) =>
  recordExchange(kept(to), question(id), [{ picture: PICTURE, answer: 'two' }], [])
const turns = async () =>
  (await loadConversation(store, 'thread'))?.pictures.flatMap((each) => each.turns.map(({ id }) => id))

/** The same store, for a writer before whose every write `others` writes. */
const behind = (others: () => Promise<void>): Store => ({
  ...store,
  async create(...given) {
    await others()
    return await store.create(...given)
  },
  async replace(...given) {
    await others()
    return await store.replace(...given)
  },
})
/** Another write, the first `times` times. */
const often = (times: number) => async () => {
  if (times-- > 0) await say(store, `other ${times}`)
}

describe.each([1, 11, 18])('after %i conflicting writes', (times) => {
  test('a turn is recorded beside the others', async () => {
    await say(behind(often(times)), 'mine')
    expect(await turns()).toHaveLength(times + 1)
    expect(await turns()).toContain('mine')
    expect(waits).toHaveLength(times)
  })

  test('a turn is deleted', async () => {
    await say(store, 'mine')
    await deleteTurn(kept(behind(often(times))), ['thread'], 'mine')
    expect(await turns()).toHaveLength(times)
    expect(await turns()).not.toContain('mine')
  })
})

test('waits grow, differ and stay below a second', async () => {
  await say(behind(often(18)), 'mine')
  expect(new Set(waits).size).toBe(18)
  for (const [i, ms] of waits.entries()) expect(ms).toBeLessThanOrEqual(Math.min(1_000, 10 * 2 ** i))
})

test('a change that conflicts for 30 s fails with state_contended', async () => {
  await say(store, 'mine')
  const deleted = deleteTurn(kept(behind(often(Infinity))), ['thread'], 'mine')
  await expect(deleted).rejects.toMatchObject({ kind: 'upstream', code: 'state_contended' })
  expect(clock.now).toBeGreaterThanOrEqual(30_000)
})

test('forgetReply wins over a concurrent done', async () => {
  const options = { leaseMs: 1_000, keepMs: DAY_MS, time }
  const claim = (await openJobs(store, options).claim(question('a'))) as Claim
  await claim.done([{ id: 'first' }])
  let others = 1
  const racing = behind(async () => {
    if (others-- > 0) await claim.done([{ id: 'second' }])
  })
  await openJobs(racing, options).forgetReply('a')
  expect(await openJobs(store, options).findDone('a')).toMatchObject({ posted: [], conversations: [] })
})
