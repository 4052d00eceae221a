// The compiled model process: it dies with its parent, leaves standard output alone, and warms up before it is ready.

import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { startEngine } from '../../src/engine/engine.ts'
import { startModelProcess } from '../../src/engine/process-handle.ts'
import { configureLog } from '../../src/observe/log.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { measured } from '../measured.ts'

const ROOT = join(import.meta.dirname, '../..')
let folder: string
let artifact: string
let image: Uint8Array
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = await embeddedArtifact(folder)
  image = await readFile(join(ROOT, 'models/demo/crab-and-helicopter.png'))
})
afterAll(() => rm(folder, { recursive: true }))

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Runs code in a Node of its own; `pid` is the first line it prints. */
function program(code: string, flags: string[] = []) {
  const parent = spawn(process.execPath, [...flags, '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  const pid = new Promise<number>((resolve) => {
    parent.stdout.on('data', (text) => {
      output += text
      if (output.includes('\n')) resolve(Number(output))
    })
  })
  return { pid, kill: () => parent.kill('SIGKILL'), output: () => output }
}

/** Glimpse as a library, started with flags that its model process must not inherit. */
function library() {
  const code = `
    import { startEngine } from ${JSON.stringify(join(ROOT, 'dist/index.js'))}
    const engine = await startEngine({ artifact: ${JSON.stringify(artifact)}, threads: 1 })
    console.log(engine.pid)`
  return program(code, ['--title=parent', '--input-type=module'])
}

test('does not outlive a parent that is killed', async () => {
  const { pid, kill, output } = library()
  const child = await pid
  expect(await readFile(`/proc/${child}/cmdline`, 'utf8')).not.toContain('--title')
  kill()
  await expect.poll(() => isAlive(child)).toBe(false)
  expect(output().trim()).toBe(String(child))
})

test('nor does one deep in a native call', async () => {
  const watchdog = pathToFileURL(join(ROOT, 'dist/engine/parent-watchdog.js')).href
  const blocked = `
    const { Worker } = require('node:worker_threads')
    const watch = new Worker(new URL(${JSON.stringify(watchdog)}), { workerData: process.ppid })
    watch.once('online', () => {
      require('node:fs').writeSync(1, String(process.pid) + String.fromCharCode(10))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000)
    })`
  const { pid, kill } = program(`
    const { spawn } = require('node:child_process')
    spawn(process.execPath, ['-e', ${JSON.stringify(blocked)}], { stdio: 'inherit' })`)
  const child = await pid
  expect(isAlive(child)).toBe(true)
  kill()
  await expect.poll(() => isAlive(child)).toBe(false)
})

test('ignores SIGINT and SIGTERM, which its parent handles', async () => {
  const engine = await startEngine({ artifact, threads: 1 })
  const { pid } = engine
  process.kill(pid!, 'SIGINT')
  process.kill(pid!, 'SIGTERM')
  expect((await engine.answer({ image, question: 'what is on the left?' })).text).toBe('a crab')
  expect(engine.pid).toBe(pid)
  await engine.close()
  await expect.poll(() => isAlive(pid!)).toBe(false)
})

test('killed amid requests, or crashed in native code, it is replaced and the next are answered', async () => {
  configureLog('json', { write() {} })
  const engine = await startEngine({ artifact, threads: 1, maxBatch: 4 })
  for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const) {
    const pid = engine.pid!
    // Stopped, so that the first cannot be answered before the signal.
    process.kill(pid, 'SIGSTOP')
    const runs = Array.from({ length: 6 }, () => engine.answer({ image, settings: { num_beams: 4 } }))
    process.kill(pid, signal)
    if (signal !== 'SIGKILL') process.kill(pid, 'SIGCONT')
    const ends = await Promise.allSettled(runs)
    const codes = ends.map((end) => (end.status === 'fulfilled' ? end.value.text : end.reason.code))
    expect(codes[0]).toBe('restarting')
    expect(new Set(codes.slice(1))).toEqual(
      new Set(['a crab to the left of a helicopter on a yellow background']),
    )
  }
  await engine.close()
})

test('warms up with `warmUp`, which is measured and leaves nothing in the cache', async () => {
  resetMetrics()
  const engine = await startEngine({ artifact, threads: 1, warmUp: true })
  expect(await measured('glimpse_model_load_seconds', { step: 'warm_up' })).toBeGreaterThan(0)
  expect(await measured('glimpse_model_load_seconds', { step: 'open' })).toBeGreaterThan(0)
  const first = await engine.answer({ image })
  expect(first.timings_ms.vision).toBeGreaterThan(0)
  await engine.close()
})

test.each([true, false])('does not start without a task that it knows, warm-up: %s', async (warmUp) => {
  const later = join(folder, `later-${warmUp}`)
  await cp(artifact, later, { recursive: true })
  const path = join(later, 'manifest.json')
  const manifest = JSON.parse(await readFile(path, 'utf8'))
  await writeFile(path, JSON.stringify({ ...manifest, tasks: ['levitation'] }))
  await expect(startEngine({ artifact: later, threads: 1, warmUp })).rejects.toMatchObject({
    kind: 'artifact',
    code: 'other_format',
    message: expect.stringMatching(/caption, answer, match, features but it has levitation/),
  })
})

test('a failure to prepack is logged, and the model opens without it', async () => {
  const lines: string[] = []
  configureLog('json', { write: (line) => void lines.push(line) })
  const blocked = join(folder, 'a file')
  await writeFile(blocked, '')
  const engine = await startEngine({ artifact, threads: 1, prepack: { folder: blocked, fromBytes: 0 } })
  await engine.close()
  const logged = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'model_not_laid_out')
  expect(logged).toMatchObject([
    { level: 'warn', code: 'not_laid_out', cause: expect.stringContaining('EEXIST') },
  ])
})

test('a cancellation is confirmed at once, wherever in the batch the request is', async () => {
  const child = await startModelProcess(
    { artifact, threads: 1 },
    new URL('../../dist/engine/model-process.js', import.meta.url),
  )
  const received: string[] = []
  const done = new Promise<void>((resolve) => {
    child.onMessage((message) => {
      if ('id' in message) received.push(`${message.kind} ${message.id}`)
      if (received.length === 24) resolve()
    })
  })
  // Three times as many pictures as one run encodes.
  const requests = Array.from({ length: 24 }, (_, id) => ({
    id,
    request: { image: Uint8Array.from([...image, id]) },
    stream: false,
  }))
  // Stopped, so that both messages have arrived when it reads the first.
  process.kill(child.pid!, 'SIGSTOP')
  child.send({ kind: 'answer', requests })
  const error = { kind: 'busy', code: 'cancelled', message: 'left' } as const
  child.send({ kind: 'cancel', id: 23, error })
  process.kill(child.pid!, 'SIGCONT')
  await done
  expect(received.indexOf('error 23')).toBeLessThan(received.indexOf('reply 8'))
  expect(received.filter((line) => line.startsWith('reply')).sort()).toEqual(
    Array.from({ length: 23 }, (_, id) => `reply ${id}`).sort(),
  )
  child.send({ kind: 'close' })
  await child.exited
})
