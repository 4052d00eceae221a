// The queue and its thread: order, cancelling, deadlines, and a thread that dies.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Engine, startEngine } from '../../src/job/engine.ts'

const FAKE = new URL('./fake-child.mjs', import.meta.url)
const image = new Uint8Array()
let engine: Engine

beforeEach(async () => {
  engine = await startEngine({ artifact: '' }, FAKE)
})
afterEach(() => engine.close())

const ask = (question: string) => engine.answer({ image, question })

test('answers in the order of asking', async () => {
  const order: string[] = []
  await Promise.all(['a', 'b', 'c'].map((q) => ask(q).then(({ text }) => order.push(text))))
  expect(order).toEqual(['a', 'b', 'c'])
})

test('counts what waits and runs', async () => {
  const both = Promise.all([ask('a'), ask('b')])
  expect(engine.load).toBe(2)
  await both
  expect(engine.load).toBe(0)
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
  expect(engine.load).toBe(1)
  stop.abort()
  await expect(first).rejects.toMatchObject({ code: 'cancelled' })
})

test('a deadline ends runs under way and waiting alike', async () => {
  const slow = engine.answer({ image, question: 'wait', deadlineMs: 30 })
  const behind = engine.answer({ image, question: 'b', deadlineMs: 10 })
  await expect(behind).rejects.toMatchObject({ code: 'deadline' })
  await expect(slow).rejects.toMatchObject({ code: 'deadline' })
})

test.each(['crash', 'exit'])(
  'after a %s of the thread the next asks are answered by a new one',
  async (how) => {
    const broken = ask(how)
    const waiting = ask('waiting')
    await expect(broken).rejects.toMatchObject({ code: 'restarting' })
    expect((await waiting).text).toBe('waiting')
    expect((await ask('later')).text).toBe('later')
  },
)

test('closing while the thread is being replaced ends cleanly', async () => {
  const broken = ask('crash')
  const waiting = ask('waiting')
  await expect(broken).rejects.toMatchObject({ code: 'restarting' })
  const closing = engine.close()
  await expect(waiting).rejects.toMatchObject({ code: 'closing' })
  await closing
  await expect(ask('too late')).rejects.toMatchObject({ code: 'closing' })
})

test('an ask that cannot reach the thread is refused, and the next one answered', async () => {
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

test('a thread that cannot start is an error, at once', async () => {
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

describe('a thread that hears nothing', () => {
  /** Above what an answer takes here, far below how long the thread is busy. */
  const PATIENCE = { endedMs: 500, closingMs: 200 }
  let own: Engine
  beforeEach(async () => {
    own = await startEngine({ artifact: '' }, FAKE, PATIENCE)
  })
  afterEach(() => own.close())

  test('lets the asker know of the deadline and of cancelling in time', async () => {
    const started = performance.now()
    const late = own.answer({ image, question: 'pause', deadlineMs: 20 })
    await expect(late).rejects.toMatchObject({ code: 'deadline' })
    const stop = new AbortController()
    const left = own.answer({ image, question: 'b' }, { signal: stop.signal })
    stop.abort()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    expect(performance.now() - started).toBeLessThan(200)
    expect(own.load).toBe(1)
    expect((await own.answer({ image, question: 'after' })).text).toBe('after')
  })

  test('is replaced when it does not come back', async () => {
    const late = own.answer({ image, question: 'busy', deadlineMs: 20 })
    const next = own.answer({ image, question: 'next' })
    await expect(late).rejects.toMatchObject({ code: 'deadline' })
    expect((await next).text).toBe('next')
    expect(own.ready).toBe(true)
  })

  test('does not keep the engine from closing', async () => {
    const run = own.answer({ image, question: 'busy' })
    const closing = own.close()
    await expect(run).rejects.toMatchObject({ code: 'closing' })
    await closing
  })
})
