// The queue and the model's process: order, cancelling, deadlines, and a process that dies.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Engine, type EngineTimeouts, startEngine } from '../../src/engine/engine.ts'
import { configureLog, log } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { measured } from '../measured.ts'

const FAKE = new URL('./fake-model-process.mjs', import.meta.url)
// Processes end here by the dozen, and the log says so each time.
configureLog('json', { write() {} })
const image = new Uint8Array()
let engine: Engine

beforeEach(async () => {
  engine = await startEngine({ artifact: '' }, FAKE)
})
afterEach(() => engine.close())

const ask = (question: string) => engine.answer({ image, question })
/** Its process reads no message until it is sent SIGCONT, as in one long native call. */
const stopProcess = ({ pid }: Engine) => process.kill(pid!, 'SIGSTOP')
const continueProcess = ({ pid }: Engine) => process.kill(pid!, 'SIGCONT')
/** The longest that a timer takes: a test that waits for it fails. */
const NEVER_MS = 2 ** 31 - 1

test('answers in the order of asking', async () => {
  const order: string[] = []
  await Promise.all(['a', 'b', 'c'].map((q) => ask(q).then(({ text }) => order.push(text))))
  expect(order).toEqual(['a', 'b', 'c'])
})

test('counts what waits and runs', async () => {
  const both = Promise.all([ask('a'), ask('b')])
  expect(engine.pending).toBe(2)
  await both
  expect(engine.pending).toBe(0)
})

test('a run that is cancelled ends before it is done', async () => {
  const stop = new AbortController()
  const run = engine.answer({ image, question: 'wait' }, { signal: stop.signal, onToken: () => stop.abort() })
  await expect(run).rejects.toMatchObject({ code: 'cancelled' })
  expect((await ask('after')).text).toBe('after')
})

test('a waiting ask that is cancelled leaves the queue at once', async () => {
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

test('a deadline ends runs under way and waiting alike', async () => {
  const slow = engine.answer({ image, question: 'wait', deadlineMs: 30 })
  const behind = engine.answer({ image, question: 'b', deadlineMs: 10 })
  await expect(behind).rejects.toMatchObject({ code: 'deadline' })
  await expect(slow).rejects.toMatchObject({ code: 'deadline' })
})

test.each(['exit', 'abort'])(
  'after an %s of the process the next asks are answered by a new one',
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

test('an ask that cannot reach the model is refused, and the next one answered', async () => {
  const odd = engine.answer({ image, question: 'a', settings: { seed: (() => 1) as never } })
  const next = ask('b')
  await expect(odd).rejects.toMatchObject({ code: 'bad_ask' })
  expect((await next).text).toBe('b')
})

test('a listener that throws ends its own ask only', async () => {
  const onToken = () => {
    throw new Error('listener')
  }
  await expect(engine.answer({ image, question: 'wait' }, { onToken })).rejects.toThrow('listener')
  expect((await ask('after')).text).toBe('after')
})

test('a deadline beyond what timers take is no deadline', async () => {
  expect((await engine.answer({ image, question: 'a', deadlineMs: Number.POSITIVE_INFINITY })).text).toBe('a')
  expect((await engine.answer({ image, question: 'a', deadlineMs: 1e12 })).text).toBe('a')
})

test('closing under way ends the running ask, and closing twice waits for the same end', async () => {
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

test('after a restart that failed the engine is not ready, and tries again when asked', async () => {
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

describe('a process that hears nothing', () => {
  const start = async (patience: Partial<EngineTimeouts>) => {
    const own = await startEngine({ artifact: '' }, FAKE, patience)
    onTestFinished(() => own.close(0))
    stopProcess(own)
    return own
  }

  test('lets the asker know of the deadline and of cancelling before the process answers', async () => {
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

  test('is replaced when it does not come back', async () => {
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
    const own = await start({ closingMs: 20 })
    const run = own.answer({ image, question: 'a' })
    const closing = own.close()
    await expect(run).rejects.toMatchObject({ code: 'closing' })
    await closing
  })
})

test('the process killed at any moment: every ask under way is told, the others are answered', async () => {
  resetMetrics()
  const own = await startEngine({ artifact: '', maxBatch: 4 }, FAKE, { restarts: 100 })
  for (let kill = 0; kill < 8; kill++) {
    const asks = ['wait', 'a', 'b', 'c', 'd', 'e', 'f'].map((question) => own.answer({ image, question }))
    const ends = Promise.allSettled(asks)
    const { pid } = own
    process.kill(pid!, kill % 2 === 0 ? 'SIGKILL' : 'SIGSEGV')
    const codes = (await ends).map((end) => (end.status === 'fulfilled' ? 'ok' : end.reason.code))
    // The first went alone, before the others came.
    expect(codes).toEqual(['restarting', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'])
    expect(own.pid).not.toBe(pid)
    expect(own.ready).toBe(true)
  }
  expect(await measured('glimpse_worker_restarts_total', { reason: 'died' })).toBe(8)
  await own.close()
})

test('a batch that the process dies with is told as a whole', async () => {
  const own = await startEngine({ artifact: '', maxBatch: 4 }, FAKE)
  // It is sent alone, at once; what is asked before its reply can come waits.
  const first = own.answer({ image, question: 'first' })
  const batch = ['a', 'exit', 'b'].map((question) => own.answer({ image, question }))
  await first
  const ends = await Promise.allSettled(batch)
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  await own.close()
})

test('what runs out of memory is told so, and the next process begins anew', async () => {
  const before = engine.pid
  await expect(ask('short')).rejects.toMatchObject({ kind: 'busy', code: 'out_of_memory' })
  expect((await ask('a')).text).toBe('a')
  expect(engine.pid).not.toBe(before)
})

test('a model that keeps ending is left alone for a while, then tried once more', async () => {
  const own = await startEngine({ artifact: '' }, FAKE, { restarts: 2, pauseMs: 60_000 })
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
  // Nobody asks: it is tried all the same, so that whoever looks at `ready` sends asks again.
  await expect.poll(() => own.ready).toBe(true)
  expect(own.unreadyReason).toBeUndefined()
  expect((await own.answer({ image, question: 'a' })).text).toBe('a')
  await own.close()
})

test('after a restart that failed it is tried again without being asked', async () => {
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

test('closing takes no longer than the caller allows, whatever the process is at', async () => {
  const busy = await startEngine({ artifact: '' }, FAKE, { closingMs: NEVER_MS })
  stopProcess(busy)
  const run = busy.answer({ image, question: 'a' })
  const refused = expect(run).rejects.toMatchObject({ code: 'closing' })
  const { pid } = busy
  await busy.close(50)
  await refused
  await vi.waitFor(() => expect(() => process.kill(pid!, 0)).toThrow('ESRCH'), { timeout: 60_000 })

  // A replacement that still loads serves nobody any more.
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-'))
  const endless = join(folder, 'endless')
  const slow = await startEngine({ artifact: endless }, FAKE, { closingMs: NEVER_MS })
  writeFileSync(endless, '')
  await expect(slow.answer({ image, question: 'exit' })).rejects.toMatchObject({ code: 'restarting' })
  await slow.close()
  expect(slow.unreadyReason).toBe('closing')
  rmSync(folder, { recursive: true })
})

test('asks that wait go together, up to so many, and it is measured', async () => {
  resetMetrics()
  const own = await startEngine({ artifact: '', maxBatch: 3 }, FAKE)
  stopProcess(own)
  const first = own.answer({ image, question: 'first' })
  const rest = ['a', 'b', 'c', 'd'].map((question) => own.answer({ image, question }))
  expect(await measured('glimpse_queue_size')).toBe(5)
  continueProcess(own)
  // The fake tells how many came together in place of tokens.
  const replies = await Promise.all([first, ...rest])
  expect(replies.map(({ token_ids: [together] }) => together)).toEqual([1, 3, 3, 3, 1])
  expect(replies[1]!.timings_ms.queue).toBeGreaterThan(0)
  await own.close()
  expect(await measured('glimpse_batch_size')).toBe(3)
  expect(await measured('glimpse_queue_seconds')).toBe(5)
  expect(await measured('glimpse_queue_size')).toBe(0)
  expect(await measured('glimpse_model_load_seconds', { step: 'open' })).toBe(2)
  expect(await measured('glimpse_provider', { provider: 'cpu', fallback: 'false' })).toBe(1)
})

test('one that holds what cannot be copied fails alone among those it would go with', async () => {
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
