// A model opens whole or leaves nothing open, and only a layout that is itself damaged is removed.

import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { InferenceSession } from 'onnxruntime-node'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { openArtifact } from '../../src/artifact/open.ts'
import { measure } from '../../src/bench/measure.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { ensurePrepacked } from '../../src/run/prepacked.ts'
import { FIXTURES } from '../fixtures.ts'

/** What onnxruntime refuses a file with, by the file's path; sessions that are open. */
const runtime = vi.hoisted(() => ({ refuse: (_: string): string | undefined => undefined, open: new Set() }))
vi.mock('onnxruntime-node', async (original) => {
  const real = await original<typeof import('onnxruntime-node')>()
  const create = async (path: string, options: InferenceSession.SessionOptions) => {
    const message = runtime.refuse(path)
    if (message !== undefined) throw new Error(message)
    const session = await real.InferenceSession.create(path, options)
    runtime.open.add(session)
    const release = session.release.bind(session)
    session.release = async () => {
      runtime.open.delete(session)
      await release()
    }
    return session
  }
  return { ...real, InferenceSession: { create } }
})

const SHORT = 'Failed to allocate memory for requested buffer of size 4096'
const UNMAPPED = 'mmap file "language.data" failed: Cannot allocate memory'
const THREADS =
  'PosixThread: pthread_create failed, error code: 11 error msg: Resource temporarily unavailable'
const RIGHTS = 'Load model from language.onnx failed:system error number 13'
const FILES = 'open file "language.data" failed: Too many open files'
const BROKEN = 'Load model from language.onnx failed:Protobuf parsing failed.'

let root: string
let artifact: string
let layouts: string
let failed: unknown[]
const options = () => ({
  threads: 1,
  prepack: { folder: layouts, fromBytes: 0, onFailed: (why: unknown) => void failed.push(why) },
})
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(root, 'artifact')
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), artifact, { precision: 'int4' })
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  layouts = await mkdtemp(join(root, 'layouts-'))
  failed = []
  runtime.open.clear()
})
afterEach(() => {
  runtime.refuse = () => undefined
  expect(runtime.open.size).toBe(0)
})

async function opened(): Promise<void> {
  const model: Model = await openModel(artifact, options())
  await model.close()
}

test.each(['vision', 'queries', 'language'])('where %s does not open nothing stays open', async (graph) => {
  runtime.refuse = (path) => (basename(path) === `${graph}.onnx` ? BROKEN : undefined)
  await expect(openModel(artifact)).rejects.toMatchObject({ code: 'graph_unreadable' })
  expect(runtime.open.size).toBe(0)
})

test.each([
  [SHORT, 'busy', 'out_of_memory'],
  [UNMAPPED, 'busy', 'out_of_memory'],
  [THREADS, 'setup', 'graph_refused'],
  [RIGHTS, 'setup', 'graph_refused'],
  [FILES, 'setup', 'graph_refused'],
  [BROKEN, 'artifact', 'graph_unreadable'],
])('"%s" is an error of kind %s, %s', async (message, kind, code) => {
  runtime.refuse = () => message
  await expect(openModel(artifact)).rejects.toMatchObject({ kind, code })
})

test.each([SHORT, UNMAPPED])('a layout stays when memory is short: "%s"', async (message) => {
  await opened()
  const [name] = await readdir(layouts)
  runtime.refuse = (path) => (path.endsWith(join(name!, 'language.onnx')) ? message : undefined)
  await expect(opened()).rejects.toMatchObject({ code: 'out_of_memory' })
  expect(await readdir(layouts)).toEqual([name])
})

test.each([THREADS, RIGHTS, FILES])(
  'a layout that the system keeps closed stays, and the artifact is opened: "%s"',
  async (message) => {
    await opened()
    const [name] = await readdir(layouts)
    runtime.refuse = (path) => (path.endsWith(join(name!, 'language.onnx')) ? message : undefined)
    await opened()
    expect(await readdir(layouts)).toEqual([name])
    expect(failed).toMatchObject([{ code: 'graph_refused', cause: { message } }])
  },
)

test.each<[string, (layout: string) => Promise<void>]>([
  ['cut short', (layout) => truncate(join(layout, 'language.onnx'), 100)],
  ['that lacks a graph', (layout) => rm(join(layout, 'queries.onnx'))],
])('a layout %s is removed, and why is handed on', async (_, spoil) => {
  await opened()
  await spoil(join(layouts, (await readdir(layouts))[0]!))
  await opened()
  expect(await readdir(layouts)).toEqual([])
  expect(failed).toMatchObject([{ code: 'graph_unreadable' }])
})

test.each([
  ['memory is short', SHORT],
  ['a graph is broken', BROKEN],
])('no layout and no session is left when %s while it is made', async (_, message) => {
  runtime.refuse = (path) => (path.includes('.partial-') ? message : undefined)
  await opened()
  expect(await readdir(layouts)).toEqual([])
  expect(failed).toMatchObject([{ kind: 'setup', code: 'not_laid_out', cause: expect.any(Error) }])
})

test('that there is no room for a layout is handed on with what it takes', async () => {
  const manifest = await openArtifact(artifact)
  const files = [{ path: 'x', sizeBytes: 1e18, sha256: '' }]
  expect(await ensurePrepacked(artifact, { ...manifest, files }, options().prepack)).toBe(artifact)
  expect(failed).toMatchObject([
    { code: 'not_laid_out', cause: { message: expect.stringContaining('it needs 2500000000000 MB') } },
  ])
})

test('that a layout cannot be written is handed on', async () => {
  layouts = join(layouts, 'a file')
  await writeFile(layouts, '')
  await opened()
  expect(failed).toMatchObject([
    { code: 'not_laid_out', message: expect.stringContaining(layouts), cause: { code: 'EEXIST' } },
  ])
})

test('a benchmark tries once to lay out, outside of the time it takes to open', async () => {
  layouts = join(layouts, 'a file')
  await writeFile(layouts, '')
  const picture = join(FIXTURES, 'references/disc-40x30.png')
  await measure(artifact, await readFile(picture), { ...options(), threads: 1, rounds: 1, tokens: 2 })
  expect(failed).toHaveLength(1)
})
