// A prepacked model gives the artifact's answers. If prepacking fails, the artifact answers.

import { mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { runOne } from '../../src/engine/pipeline.ts'
import { stageCaches } from '../../src/engine/stage-cache.ts'
import { type OpenOptions, openModel } from '../../src/run/model.ts'
import { FIXTURES } from '../fixtures.ts'

let root: string
let artifact: string
let image: Uint8Array
let cacheFolder: string
let made: number
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(root, 'artifact')
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), artifact, { precision: 'int4' })
  image = await readFile(join(import.meta.dirname, '../../models/demo/guitars.png'))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  cacheFolder = await mkdtemp(join(root, 'prepacked-'))
  made = 0
})

async function tokens(options: OpenOptions): Promise<number[]> {
  const model = await openModel(artifact, { threads: 1, ...options })
  try {
    return (await runOne(model, stageCaches(model.manifest), { image }, { check: () => {} })).token_ids
  } finally {
    await model.close()
  }
}

function prepack(folder = cacheFolder, fromBytes = 0): OpenOptions {
  const onMaking = () => {
    made++
  }
  return { prepack: { folder, fromBytes, onMaking } }
}

test('a prepacked model is made once, and gives the same answer', async () => {
  const plain = await tokens({})
  expect(await tokens(prepack())).toEqual(plain)
  expect(await tokens(prepack())).toEqual(plain)
  expect(made).toBe(1)
  expect(await readdir(cacheFolder)).toHaveLength(1)
})

test('a model below the limit is not prepacked', async () => {
  await tokens(prepack(cacheFolder, 1e12))
  expect(made).toBe(0)
  expect(await readdir(cacheFolder)).toEqual([])
})

test('a prepacked model that is cut short is removed, and the artifact is opened', async () => {
  const plain = await tokens(prepack())
  const [name] = await readdir(cacheFolder)
  await truncate(join(cacheFolder, name!, 'language.onnx'), 100)
  expect(await tokens(prepack())).toEqual(plain)
  expect(await readdir(cacheFolder)).toEqual([])
})

test('if it cannot be written, the artifact is opened', async () => {
  const blocked = join(cacheFolder, 'a file')
  await writeFile(blocked, '')
  expect(await tokens(prepack(blocked))).toEqual(await tokens({}))
})

test('prepacked models that were not opened for a month are removed when another is made', async () => {
  const day = 24 * 3_600_000
  for (const [name, age] of [
    ['old', 31 * day],
    ['fresh', day],
  ] as const) {
    await writeFile(join(cacheFolder, name), '')
    const then = new Date(Date.now() - age)
    await utimes(join(cacheFolder, name), then, then)
  }
  await tokens(prepack())
  const names = await readdir(cacheFolder)
  expect(names).toContain('fresh')
  expect(names).not.toContain('old')
})
