// An artifact that says nothing is not called good where its precision is to blame.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { fitsMemoryBudget } from '../../src/builder/smoke-test.ts'
import { configWith, makeCheckpoint, PLAIN, type RawTensor, randomTensors } from '../make-checkpoint.ts'

const WIDTH = 32
const config = await configWith({
  text_config: { hidden_size: WIDTH, num_attention_heads: 4, word_embed_proj_dim: WIDTH },
})
const END = (config['text_config'] as { eos_token_id: number }).eos_token_id
const WORD = 100

let room: string
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
})
afterEach(() => rm(room, { recursive: true }))

/**
 * A language model that always ends in the state (0, 1, 1, ...), whatever it saw: the scores are the table's row sums
 * without the first column. `word` fills the row of a word, `end` that of the end token.
 */
function alwaysTheSame(word: number[], end: number[]): RawTensor[] {
  return randomTensors(config).map((tensor) => {
    const values = new Float32Array(tensor.bytes.slice().buffer)
    const decoder = 'language_model.model.decoder'
    if (tensor.name === `${decoder}.final_layer_norm.weight`) values.fill(0)
    if (tensor.name === `${decoder}.final_layer_norm.bias`) values.fill(1).set([0])
    if (tensor.name === `${decoder}.embed_tokens.weight`) {
      values.fill(0)
      values.set(word, WORD * WIDTH)
      values.set(end, END * WIDTH)
    }
    return { ...tensor, bytes: new Uint8Array(values.buffer) }
  })
}

async function built(tensors: RawTensor[], options: { precision: 'fp32' | 'int8'; trial?: boolean }) {
  const checkpoint = await makeCheckpoint(config, tensors)
  try {
    return await buildArtifact(checkpoint, join(room, 'out'), options)
  } finally {
    await rm(checkpoint, { recursive: true })
  }
}

// One large value makes the steps of its block of 8 bits so wide that the ones beside it become zeros.
const lostInSteps = [1000, ...new Array<number>(WIDTH - 1).fill(1)]
const halves = new Array<number>(WIDTH).fill(0.5)

test('what is lost by fewer bits is refused, and nothing is left', async () => {
  const tensors = alwaysTheSame(lostInSteps, halves)
  expect((await built(tensors, { precision: 'fp32' })).trial?.texts).not.toContain('')
  await rm(join(room, 'out'), { recursive: true })
  await expect(built(tensors, { precision: 'int8' })).rejects.toThrow(
    'generates no text at int8, and it generates text at fp32',
  )
  expect(await readdir(room)).toEqual([])
})

test('a checkpoint that says nothing itself is built, and the manifest tells', async () => {
  const tensors = alwaysTheSame(new Array<number>(WIDTH).fill(0.1), halves)
  for (const precision of ['fp32', 'int8'] as const) {
    expect((await built(tensors, { precision })).trial).toEqual({ texts: ['', ''] })
  }
  expect(await readdir(room)).toEqual(['out'])
})

test('nothing is tried where that is not wanted', async () => {
  const tensors = alwaysTheSame(lostInSteps, halves)
  expect((await built(tensors, { precision: 'int8', trial: false })).trial).toBeUndefined()
})

test.each([
  ['small, with memory to spare', 400_000_000, 4_000_000_000, true],
  ['small, with little memory', 400_000_000, 1_000_000_000, false],
  ['larger than what a build may take', 600_000_000, 64_000_000_000, false],
])('a graph that is %s is tried: %#', (_, sizeBytes, freeBytes, isTried) => {
  expect(fitsMemoryBudget([{ sizeBytes: 1_000 }, { sizeBytes }], freeBytes)).toBe(isTried)
})

test('an artifact is smoke-tested by default', async () => {
  const { trial } = await buildArtifact(PLAIN, join(room, 'out'), { precision: 'int4' })
  expect(trial?.texts).toHaveLength(2)
})

test.each([
  ['cuts the answer where they are few', 14, 2],
  ['leaves out a prompt that does not fit', 8, 1],
  ['asks nothing where none fits', 1, undefined],
])('a trial keeps to the positions of the model: it %s', async (_, forText, asked) => {
  const queries = 5
  const small = await configWith({
    num_query_tokens: queries,
    text_config: { max_position_embeddings: queries + forText },
  })
  const checkpoint = await makeCheckpoint(small)
  const { trial } = await buildArtifact(checkpoint, join(room, 'out'), { precision: 'fp32' })
  expect(trial?.texts.length).toBe(asked)
  await rm(checkpoint, { recursive: true })
})
