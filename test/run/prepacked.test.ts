// A model laid out for this processor answers as the model does, and a layout that can't be had costs no answer.

import { mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { inMemoryEncoderCache } from '../../src/engine/encoder-cache.ts'
import { runOne } from '../../src/engine/pipeline.ts'
import { type OpenOptions, openModel } from '../../src/run/model.ts'
import { FIXTURES } from '../fixtures.ts'

let root: string
let artifact: string
let image: Uint8Array
let layouts: string
let made: number
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(root, 'artifact')
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), artifact, { precision: 'int4' })
  image = await readFile(join(import.meta.dirname, '../../models/demo/guitars.png'))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  layouts = await mkdtemp(join(root, 'layouts-'))
  made = 0
})

async function tokens(options: OpenOptions): Promise<number[]> {
  const model = await openModel(artifact, { threads: 1, ...options })
  try {
    return (await runOne(model, inMemoryEncoderCache(), { image }, { check: () => {} })).token_ids
  } finally {
    await model.close()
  }
}

function prepack(folder = layouts, fromBytes = 0): OpenOptions {
  const onMaking = () => {
    made++
  }
  return { prepack: { folder, fromBytes, onMaking } }
}

test('is made once, and answers alike', async () => {
  const plain = await tokens({})
  expect(await tokens(prepack())).toEqual(plain)
  expect(await tokens(prepack())).toEqual(plain)
  expect(made).toBe(1)
  expect(await readdir(layouts)).toHaveLength(1)
})

test('is not made for a model below the limit', async () => {
  await tokens(prepack(layouts, 1e12))
  expect(made).toBe(0)
  expect(await readdir(layouts)).toEqual([])
})

test('that was cut short is dropped, and the artifact opened', async () => {
  const plain = await tokens(prepack())
  const [name] = await readdir(layouts)
  await truncate(join(layouts, name!, 'language.onnx'), 100)
  expect(await tokens(prepack())).toEqual(plain)
  expect(await readdir(layouts)).toEqual([])
})

test('that can not be written leaves the artifact opened', async () => {
  const blocked = join(layouts, 'a file')
  await writeFile(blocked, '')
  expect(await tokens(prepack(blocked))).toEqual(await tokens({}))
})

test('unused for a month is removed when another is made, a fresh one is not', async () => {
  const day = 24 * 3_600_000
  for (const [name, age] of [
    ['old', 31 * day],
    ['fresh', day],
  ] as const) {
    await writeFile(join(layouts, name), '')
    const then = new Date(Date.now() - age)
    await utimes(join(layouts, name), then, then)
  }
  await tokens(prepack())
  const names = await readdir(layouts)
  expect(names).toContain('fresh')
  expect(names).not.toContain('old')
})
