// Idempotency keys between processes that share a store: which one runs, how long others wait, what happens when it dies.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { BaseResult } from '../../src/engine/request.ts'
import { log } from '../../src/observe/log.ts'
import { type Idempotency, type IdempotentResult, openIdempotency } from '../../src/serve/idempotency.ts'
import type { Store } from '../../src/store/store.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'

const reply = (text: string) => ({ text }) as BaseResult
const signal = new AbortController().signal
let store: Store
/** Two processes. */
let [one, two]: Idempotency[] = []
/** Work that never ends, like that of a process that died. */
const never = () => new Promise<BaseResult>(() => {})

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
  })
  vi.spyOn(log, 'warn').mockReturnValue()
  store = inMemoryStore()
  one = openIdempotency(async () => store)
  two = openIdempotency(async () => store)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** Leaves the record of a process that died in its work: nothing renews its lease. */
async function dies(once: Idempotency, body = 'body'): Promise<void> {
  const beats = vi.spyOn(globalThis, 'setInterval').mockReturnValue(undefined as never)
  void once.run('key', body, { signal }, never)
  await vi.advanceTimersByTimeAsync(0)
  beats.mockRestore()
}
/** The outcome of a run, once it has one. */
function watched(run: Promise<IdempotentResult>) {
  const state: { outcome?: unknown } = {}
  run.then(
    ({ reply: { text }, isReplay }) => (state.outcome = [text, isReplay]),
    (error: { code: string }) => (state.outcome = error.code),
  )
  return state
}

test('a key whose process died is taken over when its lease expires', async () => {
  await dies(one!)
  const next = watched(two!.run('key', 'body', { signal, deadlineMs: 60_000 }, async () => reply('two')))
  await vi.advanceTimersByTimeAsync(9_000)
  expect(next.outcome).toBeUndefined()
  await vi.advanceTimersByTimeAsync(2_000)
  expect(next.outcome).toEqual(['two', false])
})

test('the process that takes over counts the time it waited', async () => {
  await dies(one!)
  let waitedMs = 0
  const work = async (ms: number) => {
    waitedMs = ms
    return reply('two')
  }
  void two!.run('key', 'body', { signal }, work)
  await vi.advanceTimersByTimeAsync(11_000)
  expect(waitedMs).toBeGreaterThanOrEqual(10_000)
  expect(waitedMs).toBeLessThan(11_000)
})

test('of two that wait for a dead process one takes over, and the other has its reply', async () => {
  await dies(one!)
  const work = vi.fn(async () => reply('new'))
  const both = [two!, openIdempotency(async () => store)].map((once) =>
    watched(once.run('key', 'body', { signal }, work)),
  )
  await vi.advanceTimersByTimeAsync(11_000)
  expect(both.map(({ outcome }) => outcome).sort()).toEqual([
    ['new', false],
    ['new', true],
  ])
  expect(work).toHaveBeenCalledOnce()
})

test('a dead process blocks its key for another request until its lease expires', async () => {
  await dies(one!, 'other')
  const early = watched(two!.run('key', 'body', { signal }, never))
  await vi.advanceTimersByTimeAsync(0)
  expect(early.outcome).toBe('key_taken')
  await vi.advanceTimersByTimeAsync(11_000)
  const late = watched(two!.run('key', 'body', { signal }, async () => reply('late')))
  await vi.advanceTimersByTimeAsync(0)
  expect(late.outcome).toEqual(['late', false])
})

test('a live process keeps its key, however long it takes', async () => {
  let done = (_: BaseResult) => {}
  const first = watched(one!.run('key', 'body', { signal }, () => new Promise((resolve) => (done = resolve))))
  const second = watched(two!.run('key', 'body', { signal }, async () => reply('two')))
  await vi.advanceTimersByTimeAsync(300_000)
  expect([first.outcome, second.outcome]).toEqual([undefined, undefined])
  done(reply('one'))
  await vi.advanceTimersByTimeAsync(1_000)
  expect([first.outcome, second.outcome]).toEqual([
    ['one', false],
    ['one', true],
  ])
})

test.each([
  ['answers', ['one', true]],
  ['fails', ['two', false]],
])(
  'in one process a request waits without reading the store until the first one %s',
  async (how, expected) => {
    let end = () => {}
    const work = () =>
      new Promise<BaseResult>((resolve, reject) => {
        end = () => (how === 'answers' ? resolve(reply('one')) : reject(new Error('It broke.')))
      })
    const first = watched(one!.run('key', 'body', { signal }, work))
    const second = watched(one!.run('key', 'body', { signal }, async () => reply('two')))
    await vi.advanceTimersByTimeAsync(0)
    const read = vi.spyOn(store, 'read')
    await vi.advanceTimersByTimeAsync(60_000)
    expect([first.outcome, second.outcome]).toEqual([undefined, undefined])
    expect(read).not.toHaveBeenCalled()
    end()
    await vi.advanceTimersByTimeAsync(0)
    expect(second.outcome).toEqual(expected)
  },
)

test('a process that lost its key while it hung answers, and keeps the other reply in the record', async () => {
  let done = (_: BaseResult) => {}
  const beats = vi.spyOn(globalThis, 'setInterval').mockReturnValue(undefined as never)
  const first = watched(one!.run('key', 'body', { signal }, () => new Promise((resolve) => (done = resolve))))
  await vi.advanceTimersByTimeAsync(11_000)
  beats.mockRestore()
  const second = watched(two!.run('key', 'body', { signal }, async () => reply('two')))
  await vi.advanceTimersByTimeAsync(0)
  done(reply('one'))
  await vi.advanceTimersByTimeAsync(0)
  expect([first.outcome, second.outcome]).toEqual([
    ['one', false],
    ['two', false],
  ])
  const third = watched(openIdempotency(async () => store).run('key', 'body', { signal }, never))
  await vi.advanceTimersByTimeAsync(0)
  expect(third.outcome).toEqual(['two', true])
})

test.each([
  ['another process', () => [one!, two!]],
  ['this one', () => [one!, one!]],
])('waiting for %s ends at the deadline and when the client disconnects', async (_, processes) => {
  const [first, second] = processes() as [Idempotency, Idempotency]
  void first.run('key', 'body', { signal }, never)
  await vi.advanceTimersByTimeAsync(0)
  const leaving = new AbortController()
  const late = watched(second.run('key', 'body', { signal, deadlineMs: 5_000 }, never))
  const left = watched(second.run('key', 'body', { signal: leaving.signal }, never))
  await vi.advanceTimersByTimeAsync(4_999)
  expect([late.outcome, left.outcome]).toEqual([undefined, undefined])
  leaving.abort()
  await vi.advanceTimersByTimeAsync(1)
  expect([late.outcome, left.outcome]).toEqual(['deadline', 'cancelled'])
})

test('a failed request frees its key at once, or by its lease when the store fails', async () => {
  const failing = async () => {
    throw new Error('It broke.')
  }
  await expect(one!.run('key', 'body', { signal }, failing)).rejects.toThrow('It broke.')
  expect((await two!.run('key', 'body', { signal }, async () => reply('two'))).reply.text).toBe('two')
  store.remove = failing
  await expect(one!.run('other', 'body', { signal }, failing)).rejects.toThrow('It broke.')
  expect(log.warn).toHaveBeenCalledWith('key_not_freed', expect.any(Error))
})

test('while the store cannot be opened keys hold in this process, and the log says so', async () => {
  const open = vi.fn(async (): Promise<Store> => {
    throw new Error('No folder.')
  })
  const once = openIdempotency(open)
  expect((await once.run('key', 'body', { signal }, async () => reply('a'))).isReplay).toBe(false)
  expect((await once.run('key', 'body', { signal }, never)).isReplay).toBe(true)
  expect(log.warn).toHaveBeenCalledWith('keys_not_shared', expect.any(Error))
  open.mockImplementation(async () => store)
  await once.run('other', 'body', { signal }, async () => reply('b'))
  expect((await two!.run('other', 'body', { signal }, never)).reply.text).toBe('b')
})
