// The whole path with an encoder-decoder: prompt and cache, stream, batches, cancellation.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { type RequestResult, runBatch, runOne } from '../../src/engine/pipeline.ts'
import type { InferenceRequest, InferenceResult } from '../../src/engine/request.ts'
import { stageCaches } from '../../src/engine/stage-cache.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { FIXTURES } from '../fixtures.ts'

let folder: string
let model: Model
let image: Uint8Array
let other: Uint8Array
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/t5-gated'), join(folder, 't5'), { precision: 'fp32' })
  model = await openModel(join(folder, 't5'), { threads: 1 })
  image = await readFile(join(FIXTURES, 'references/disc-40x30.png'))
  other = await readFile(join(FIXTURES, 'references/triangle-33x57.png'))
})
afterAll(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

const LONG = { max_new_tokens: 16, min_new_tokens: 16 }
const caches = () => stageCaches(model.manifest)
const say = (request: Partial<InferenceRequest>, own = caches()) =>
  runOne(model, own, { image, ...request }, { check() {} })

test('a question has the form of the paper, and earlier turns are before it', async () => {
  expect((await say({})).prompt).toBe('')
  expect((await say({ question: 'what is it?' })).prompt).toBe('Question: what is it? Short answer:')
  const history = [{ question: 'what is it?', answer: 'a dog' }]
  expect((await say({ question: 'is it big?', history })).prompt).toBe(
    'Question: what is it? Answer: a dog. Question: is it big? Short answer:',
  )
})

test('a second question about a picture runs neither vision nor queries', async () => {
  const own = caches()
  await say({ question: 'what is it?' }, own)
  const second = await say({ question: 'is it big?' }, own)
  expect(second.timings_ms).toMatchObject({ image: 0, pixels: 0, vision: 0, queries: 0 })
})

test('the pieces of a stream are the text of the reply', async () => {
  for (const question of ['what is it?', 'is it big?', 'what color is the car?']) {
    for (const seed of [1, 2, 3]) {
      const pieces: string[] = []
      const settings = { ...LONG, do_sample: true, temperature: 3, seed }
      const onToken = (text: string) => void pieces.push(text)
      const request = { image, question, settings }
      const { text } = await runOne(model, caches(), request, { check() {}, onToken })
      expect(pieces.length).toBeGreaterThan(3)
      expect(pieces.join('').trim()).toBe(text)
    }
  }
})

test('requests of one batch have the answers of each alone, and one that is cancelled ends alone', async () => {
  const requests: InferenceRequest[] = [
    { image, question: 'what is it?', settings: LONG },
    { image: other, question: 'what color is the car on the street?', settings: { ...LONG, num_beams: 3 } },
    { image: other, settings: LONG },
    { image, question: 'is it big?', settings: LONG },
  ]
  const alone = await Promise.all(requests.map((request) => say(request)))
  let checks = 0
  const hooks = requests.map((_, i) => ({
    check() {
      if (i === 3 && checks++ > 6) throw new Error('cancelled')
    },
  }))
  const outcomes: RequestResult[] = []
  const items = requests.map((request, i) => ({ request, hooks: hooks[i]! }))
  await runBatch(model, caches(), items, (i, outcome) => {
    outcomes[i] = outcome
  })
  const ids = (outcome: RequestResult) =>
    'reply' in outcome ? (outcome.reply as InferenceResult).token_ids : String(outcome.error)
  expect(outcomes.map(ids)).toEqual([
    ...alone.slice(0, 3).map(({ token_ids }) => token_ids),
    'Error: cancelled',
  ])
})

test('a prompt that is too long is refused, and a long history is cut from its beginning', async () => {
  const prompt = 'q '.repeat(800)
  await expect(say({ prompt })).rejects.toMatchObject({ code: 'question_too_long' })
  const turn = { question: 'q '.repeat(20), answer: 'a '.repeat(20) }
  const { prompt: read } = await say({ question: 'what is it?', history: Array(9).fill(turn) })
  expect(model.tokenizer.encode(read).length).toBeLessThanOrEqual(512)
  expect(read.match(/Answer: a a/g)?.length).toBeGreaterThan(1)
  expect(read.match(/Answer: a a/g)?.length).toBeLessThan(9)
})
