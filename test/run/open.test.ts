// A model opens completely or leaves no session open, and a prepacked model is removed only if its files are damaged.

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

/** The message that onnxruntime fails with, by the file's path; the open sessions. */
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
let prepackedFolder: string
let failed: unknown[]
const options = () => ({
  threads: 1,
  prepack: { folder: prepackedFolder, fromBytes: 0, onFailed: (why: unknown) => void failed.push(why) },
})
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(root, 'artifact')
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), artifact, { precision: 'int4' })
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  prepackedFolder = await mkdtemp(join(root, 'prepacked-'))
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

test.each(['vision', 'queries', 'language'])('if %s does not open, no session stays open', async (graph) => {
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

test.each([SHORT, UNMAPPED])('a prepacked model stays if memory is short: "%s"', async (message) => {
  await opened()
  const [name] = await readdir(prepackedFolder)
  runtime.refuse = (path) => (path.endsWith(join(name!, 'language.onnx')) ? message : undefined)
  await expect(opened()).rejects.toMatchObject({ code: 'out_of_memory' })
  expect(await readdir(prepackedFolder)).toEqual([name])
})

test.each([THREADS, RIGHTS, FILES])(
  'a prepacked model that the system refuses to open stays, and the artifact is opened: "%s"',
  async (message) => {
    await opened()
    const [name] = await readdir(prepackedFolder)
    runtime.refuse = (path) => (path.endsWith(join(name!, 'language.onnx')) ? message : undefined)
    await opened()
    expect(await readdir(prepackedFolder)).toEqual([name])
    expect(failed).toMatchObject([{ code: 'graph_refused', cause: { message } }])
  },
)

test.each<[string, (folder: string) => Promise<void>]>([
  ['that is cut short', (folder) => truncate(join(folder, 'language.onnx'), 100)],
  ['that lacks a graph', (folder) => rm(join(folder, 'queries.onnx'))],
])('a prepacked model %s is removed, and the reason is reported', async (_, spoil) => {
  await opened()
  await spoil(join(prepackedFolder, (await readdir(prepackedFolder))[0]!))
  await opened()
  expect(await readdir(prepackedFolder)).toEqual([])
  expect(failed).toMatchObject([{ code: 'graph_unreadable' }])
})

test.each([
  ['memory is short', SHORT],
  ['a graph is broken', BROKEN],
])('no prepacked model and no session is left if %s while it is made', async (_, message) => {
  runtime.refuse = (path) => (path.includes('.partial-') ? message : undefined)
  await opened()
  expect(await readdir(prepackedFolder)).toEqual([])
  expect(failed).toMatchObject([{ kind: 'setup', code: 'not_laid_out', cause: expect.any(Error) }])
})

test('too little disk space is reported with the size that is needed', async () => {
  const manifest = await openArtifact(artifact)
  const files = [{ path: 'x', sizeBytes: 1e18, sha256: '' }]
  expect(await ensurePrepacked(artifact, { ...manifest, files }, options().prepack)).toBe(artifact)
  expect(failed).toMatchObject([
    { code: 'not_laid_out', cause: { message: expect.stringContaining('it needs 2500000000000 MB') } },
  ])
})

test('a folder that cannot be written is reported', async () => {
  prepackedFolder = join(prepackedFolder, 'a file')
  await writeFile(prepackedFolder, '')
  await opened()
  expect(failed).toMatchObject([
    { code: 'not_laid_out', message: expect.stringContaining(prepackedFolder), cause: { code: 'EEXIST' } },
  ])
})

test('a benchmark tries once to prepack, outside of the time it takes to open', async () => {
  prepackedFolder = join(prepackedFolder, 'a file')
  await writeFile(prepackedFolder, '')
  const picture = join(FIXTURES, 'references/disc-40x30.png')
  await measure(artifact, await readFile(picture), { ...options(), threads: 1, rounds: 1, tokens: 2 })
  expect(failed).toHaveLength(1)
})
