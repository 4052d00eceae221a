// The engine over a fake model process: order, cancellation, deadlines, and a process that dies.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Engine, type EngineTimeouts, startEngine } from '../../src/engine/engine.ts'
import { configureLog, log } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { measured } from '../measured.ts'

const FAKE = new URL('./fake-model-process.mjs', import.meta.url)
// Each process that dies is logged.
configureLog('json', { write() {} })
const image = new Uint8Array()
let engine: Engine

beforeEach(async () => {
  engine = await startEngine({ artifact: '' }, FAKE)
})
afterEach(() => engine.close())

const ask = (question: string) => engine.answer({ image, question })
/** The process reads no message until SIGCONT, as in one long native call. */
const stopProcess = ({ pid }: Engine) => process.kill(pid!, 'SIGSTOP')
const continueProcess = ({ pid }: Engine) => process.kill(pid!, 'SIGCONT')
/** Twelve days: a test that waits for it fails. */
const NEVER_MS = 2 ** 30

test('answers in the order of requests', async () => {
  const order: string[] = []
  await Promise.all(['a', 'b', 'c'].map((q) => ask(q).then(({ text }) => order.push(text))))
  expect(order).toEqual(['a', 'b', 'c'])
})

test('counts the requests that wait and run', async () => {
  const both = Promise.all([ask('a'), ask('b')])
  expect(engine.pending).toBe(2)
  await both
  expect(engine.pending).toBe(0)
})

test('a running request that is cancelled ends before it is done', async () => {
  const stop = new AbortController()
  const run = engine.answer({ image, question: 'wait' }, { signal: stop.signal, onToken: () => stop.abort() })
  await expect(run).rejects.toMatchObject({ code: 'cancelled' })
  expect((await ask('after')).text).toBe('after')
})

test('a waiting request that is cancelled leaves the queue at once', async () => {
  const stop = new AbortController()
  const first = engine.answer({ image, question: 'wait' }, { signal: stop.signal })
  const leave = new AbortController()
  const second = engine.answer({ image, question: 'b' }, { signal: leave.signal })
  leave.abort()
  await expect(second).rejects.toMatchObject({ code: 'cancelled' })
  expect(engine.pending).toBe(1)
  stop.abort()
  await expect(first).rejects.toMatchObject({ code: 'cancelled' })
})

test('a deadline ends running and waiting requests', async () => {
  const slow = engine.answer({ image, question: 'wait', deadlineMs: 30 })
  const behind = engine.answer({ image, question: 'b', deadlineMs: 10 })
  await expect(behind).rejects.toMatchObject({ code: 'deadline' })
  await expect(slow).rejects.toMatchObject({ code: 'deadline' })
})

test.each(['exit', 'abort'])(
  'after an %s of the process the next requests are answered by a new one',
  async (how) => {
    const broken = ask(how)
    const waiting = ask('waiting')
    await expect(broken).rejects.toMatchObject({ code: 'restarting' })
    expect((await waiting).text).toBe('waiting')
    expect((await ask('later')).text).toBe('later')
  },
)

test('closing while the process is being replaced ends cleanly', async () => {
  const broken = ask('exit')
  const waiting = ask('waiting')
  await expect(broken).rejects.toMatchObject({ code: 'restarting' })
  const closing = engine.close()
  await expect(waiting).rejects.toMatchObject({ code: 'closing' })
  await closing
  await expect(ask('too late')).rejects.toMatchObject({ code: 'closing' })
})

test('a request that cannot be cloned is refused, and the next one answered', async () => {
  const odd = engine.answer({ image, question: 'a', settings: { seed: (() => 1) as never } })
  const next = ask('b')
  await expect(odd).rejects.toMatchObject({ code: 'bad_ask' })
  expect((await next).text).toBe('b')
})

test('a listener that throws ends its own request only', async () => {
  const onToken = () => {
    throw new Error('listener')
  }
  await expect(engine.answer({ image, question: 'wait' }, { onToken })).rejects.toThrow('listener')
  expect((await ask('after')).text).toBe('after')
})

test('a deadline beyond the limit of timers is no deadline', async () => {
  expect((await engine.answer({ image, question: 'a', deadlineMs: Number.POSITIVE_INFINITY })).text).toBe('a')
  expect((await engine.answer({ image, question: 'a', deadlineMs: 1e12 })).text).toBe('a')
})

test('closing ends the running request, and closing twice waits for the same end', async () => {
  const run = ask('wait')
  const both = Promise.all([engine.close(), engine.close()])
  await expect(run).rejects.toMatchObject({ code: 'closing' })
  await both
  expect(engine.ready).toBe(false)
})

test('a process that cannot start is an error, at once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-'))
  const block = join(folder, 'block')
  writeFileSync(block, '')
  await expect(startEngine({ artifact: block }, FAKE)).rejects.toThrow('before it was ready')
  rmSync(folder, { recursive: true })
})

test('after a restart that failed the engine is not ready, and restarts at the next request', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-'))
  const block = join(folder, 'block')
  const own = await startEngine({ artifact: block }, FAKE)
  writeFileSync(block, '')
  await expect(own.answer({ image, question: 'exit' })).rejects.toMatchObject({ code: 'restarting' })
  await expect(own.answer({ image, question: 'a' })).rejects.toThrow('before it was ready')
  expect(own.ready).toBe(false)
  rmSync(folder, { recursive: true })
  expect((await own.answer({ image, question: 'b' })).text).toBe('b')
  expect(own.ready).toBe(true)
  await own.close()
})

describe('a process in a native call', () => {
  const start = async (limits: Partial<EngineTimeouts>) => {
    const own = await startEngine({ artifact: '' }, FAKE, limits)
    onTestFinished(() => own.close(0))
    stopProcess(own)
    return own
  }

  test('does not delay the error of a deadline or a cancellation', async () => {
    const own = await start({ cancelGraceMs: NEVER_MS })
    const { pid } = own
    const late = own.answer({ image, question: 'a', deadlineMs: 20 })
    await expect(late).rejects.toMatchObject({ code: 'deadline' })
    const stop = new AbortController()
    const left = own.answer({ image, question: 'b' }, { signal: stop.signal })
    stop.abort()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    expect(own.pending).toBe(1)
    continueProcess(own)
    expect((await own.answer({ image, question: 'after' })).text).toBe('after')
    expect(own.pid).toBe(pid)
  })

  test('is replaced when it does not return', async () => {
    resetMetrics()
    const own = await start({ cancelGraceMs: 20 })
    const late = own.answer({ image, question: 'a', deadlineMs: 20 })
    const next = own.answer({ image, question: 'next' })
    await expect(late).rejects.toMatchObject({ code: 'deadline' })
    expect((await next).text).toBe('next')
    expect(own.ready).toBe(true)
    expect(await measured('glimpse_worker_restarts_total', { reason: 'hung' })).toBe(1)
  })

  test('does not keep the engine from closing', async () => {
    const own = await start({})
    const run = own.answer({ image, question: 'a' })
    const closing = own.close(20)
    await expect(run).rejects.toMatchObject({ code: 'closing' })
    await closing
  })
})

test('the process killed at any moment: every running request fails, the others are answered', async () => {
  resetMetrics()
  const own = await startEngine({ artifact: '', maxBatch: 4 }, FAKE, { restarts: 100 })
  for (let kill = 0; kill < 8; kill++) {
    const requests = ['wait', 'a', 'b', 'c', 'd', 'e', 'f'].map((question) => own.answer({ image, question }))
    const ends = Promise.allSettled(requests)
    const { pid } = own
    process.kill(pid!, kill % 2 === 0 ? 'SIGKILL' : 'SIGSEGV')
    const codes = (await ends).map((end) => (end.status === 'fulfilled' ? 'ok' : end.reason.code))
    // The first was sent alone, before the others were queued.
    expect(codes).toEqual(['restarting', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'])
    expect(own.pid).not.toBe(pid)
    expect(own.ready).toBe(true)
  }
  expect(await measured('glimpse_worker_restarts_total', { reason: 'died' })).toBe(8)
  await own.close()
})

test('a process that dies fails the whole batch', async () => {
  const own = await startEngine({ artifact: '', maxBatch: 4 }, FAKE)
  // Sent alone, at once. The requests before its reply wait and form the batch.
  const first = own.answer({ image, question: 'first' })
  const batch = ['a', 'exit', 'b'].map((question) => own.answer({ image, question }))
  await first
  const ends = await Promise.allSettled(batch)
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  await own.close()
})

test('a request that runs out of memory fails with out_of_memory, and a new process starts', async () => {
  const before = engine.pid
  await expect(ask('short')).rejects.toMatchObject({ kind: 'busy', code: 'out_of_memory' })
  expect((await ask('a')).text).toBe('a')
  expect(engine.pid).not.toBe(before)
})

test('a process that keeps dying is not restarted during the pause', async () => {
  const own = await startEngine({ artifact: '' }, FAKE, { restarts: 2, withinMs: 60_000 })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const die = () =>
    expect(own.answer({ image, question: 'exit' })).rejects.toMatchObject({ code: 'restarting' })
  await die()
  await die()
  await die()
  expect(own.ready).toBe(false)
  expect(own.unreadyReason).toBe('model_down')
  await expect(own.answer({ image, question: 'a' })).rejects.toMatchObject({
    kind: 'busy',
    code: 'model_down',
  })
  vi.advanceTimersByTime(59_999)
  expect(own.unreadyReason).toBe('model_down')
  vi.advanceTimersByTime(1)
  // Restarted without a request, so that a load balancer that reads `ready` sends requests again.
  await expect.poll(() => own.ready).toBe(true)
  expect(own.unreadyReason).toBeUndefined()
  expect((await own.answer({ image, question: 'a' })).text).toBe('a')
  await own.close()
})

test('restarts far enough apart are never refused', async () => {
  const own = await startEngine({ artifact: '' }, FAKE, { restarts: 2, withinMs: 60_000 })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  for (let restart = 0; restart < 6; restart++) {
    await expect(own.answer({ image, question: 'exit' })).rejects.toMatchObject({ code: 'restarting' })
    await expect.poll(() => own.ready).toBe(true)
    vi.advanceTimersByTime(30_000)
  }
  await own.close()
})

test('after a restart that failed it restarts without a request', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-'))
  const block = join(folder, 'block')
  const own = await startEngine({ artifact: block }, FAKE, { retryMs: 5 })
  writeFileSync(block, '')
  const warn = vi.spyOn(log, 'warn')
  onTestFinished(() => warn.mockRestore())
  await expect(own.answer({ image, question: 'exit' })).rejects.toMatchObject({ code: 'restarting' })
  await expect.poll(() => warn.mock.calls.map(([event]) => event)).toContain('model_not_started')
  expect(own.unreadyReason).toBe('restarting')
  rmSync(folder, { recursive: true })
  await expect.poll(() => own.ready).toBe(true)
  await own.close()
})

test('closing takes no longer than the caller allows, whatever the process runs', async () => {
  const busy = await startEngine({ artifact: '' }, FAKE)
  stopProcess(busy)
  const run = busy.answer({ image, question: 'a' })
  const refused = expect(run).rejects.toMatchObject({ code: 'closing' })
  const { pid } = busy
  await busy.close(50)
  await refused
  await vi.waitFor(() => expect(() => process.kill(pid!, 0)).toThrow('ESRCH'), { timeout: 60_000 })

  // A new process that still loads is killed at once.
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-'))
  const endless = join(folder, 'endless')
  const slow = await startEngine({ artifact: endless }, FAKE)
  writeFileSync(endless, '')
  await expect(slow.answer({ image, question: 'exit' })).rejects.toMatchObject({ code: 'restarting' })
  await slow.close(NEVER_MS)
  expect(slow.unreadyReason).toBe('closing')
  rmSync(folder, { recursive: true })
})

test('waiting requests form batches of up to maxBatch, which are measured', async () => {
  resetMetrics()
  const own = await startEngine({ artifact: '', maxBatch: 3 }, FAKE)
  stopProcess(own)
  const first = own.answer({ image, question: 'first' })
  const rest = ['a', 'b', 'c', 'd'].map((question) => own.answer({ image, question }))
  expect(await measured('glimpse_queue_size')).toBe(5)
  continueProcess(own)
  // The fake process returns the size of the batch in place of tokens.
  const replies = await Promise.all([first, ...rest])
  expect(replies.map(({ token_ids: [batchSize] }) => batchSize)).toEqual([1, 3, 3, 3, 1])
  expect(replies[1]!.timings_ms.queue).toBeGreaterThan(0)
  await own.close()
  expect(await measured('glimpse_batch_size')).toBe(3)
  expect(await measured('glimpse_queue_seconds')).toBe(5)
  expect(await measured('glimpse_queue_size')).toBe(0)
  expect(await measured('glimpse_model_load_seconds', { step: 'open' })).toBe(2)
  expect(await measured('glimpse_provider', { provider: 'cpu', fallback: 'false' })).toBe(1)
})

test('a request that cannot be cloned fails alone in its batch', async () => {
  const own = await startEngine({ artifact: '', maxBatch: 8 }, FAKE)
  const first = own.answer({ image, question: 'first' })
  const odd = { question: 'odd', answer: (() => 1) as never }
  const rest = [
    own.answer({ image, question: 'a' }),
    own.answer({ image, question: 'b', history: [odd] }),
    own.answer({ image, question: 'c' }),
  ]
  await first
  const ends = await Promise.allSettled(rest)
  expect(ends.map((end) => (end.status === 'fulfilled' ? end.value.text : end.reason.code))).toEqual([
    'a',
    'bad_ask',
    'c',
  ])
  await own.close()
})
