// The whole path with queries that read the instruction: prompts, what is kept of a picture, batches, limits, presets.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { runBatch, runOne } from '../../src/engine/pipeline.ts'
import type { InferenceRequest, InferenceResult } from '../../src/engine/request.ts'
import { stageCaches } from '../../src/engine/stage-cache.ts'
import { completeSettings } from '../../src/generation-settings.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { FIXTURES } from '../fixtures.ts'

let folder: string
let model: Model
let image: Uint8Array
let other: Uint8Array
/** Pictures in each run of a graph, by its name. */
let runs: Record<string, number[]>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/llama-grouped'), join(folder, 'llama'), {
    precision: 'fp32',
  })
  const opened = await openModel(join(folder, 'llama'), { threads: 1 })
  const sessions = Object.entries(opened.sessions).map(([name, session]) => [
    name,
    {
      ...session,
      run(...[feeds, names]: Parameters<typeof session.run>) {
        runs[name]?.push(Object.values(feeds)[0]!.dims[0]!)
        return session.run(feeds, names)
      },
    },
  ])
  model = { ...opened, sessions: Object.fromEntries(sessions) }
  image = await readFile(join(FIXTURES, 'references/disc-40x30.png'))
  other = await readFile(join(FIXTURES, 'references/triangle-33x57.png'))
})
beforeEach(() => {
  runs = { vision: [], queries: [] }
})
afterAll(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

const caches = () => stageCaches(model.manifest)
const say = (request: Partial<InferenceRequest>, own = caches()) =>
  runOne(model, own, { image, ...request }, { check() {} })

test('the prompt is the bare instruction, and a caption has the instruction of the artifact', async () => {
  expect((await say({})).prompt).toBe('A short image description:')
  expect((await say({ question: 'what is unusual?' })).prompt).toBe('what is unusual?')
  const history = [{ question: 'what is it?', answer: 'a dog' }]
  expect((await say({ question: 'is it big?', history })).prompt).toBe(
    'Question: what is it? Answer: a dog. is it big?',
  )
})

test('a follow-up runs no vision, and a repeated instruction no queries either', async () => {
  const own = caches()
  const first = await say({ question: 'what is it?' }, own)
  expect(runs).toEqual({ vision: [1], queries: [1] })
  const { picture } = first
  const followUp = await say({ image: undefined, picture, question: 'is it big?' }, own)
  expect(runs).toEqual({ vision: [1], queries: [1, 1] })
  expect(followUp.timings_ms).toMatchObject({ image: 0, pixels: 0, vision: 0 })
  const again = await say({ image: undefined, picture, question: 'what is it?' }, own)
  expect(runs).toEqual({ vision: [1], queries: [1, 1] })
  expect(again.token_ids).toEqual(first.token_ids)
  // Equal to what a process computes that has kept nothing.
  expect(followUp.token_ids).toEqual((await say({ question: 'is it big?' })).token_ids)
})

test('requests of one batch have the answers of each alone, and a picture runs once', async () => {
  const requests: InferenceRequest[] = [
    { image, question: 'what is it?' },
    { image, question: 'what color is the car on the street?', settings: { num_beams: 3 } },
    { image: other, question: 'what is it?' },
    { image: other },
  ]
  const alone: number[][] = []
  for (const request of requests) alone.push((await say(request)).token_ids)
  expect(new Set(alone.map(String)).size).toBe(requests.length)
  runs = { vision: [], queries: [] }
  const together: number[][] = []
  const items = requests.map((request) => ({ request, hooks: { check() {} } }))
  await runBatch(model, caches(), items, (i, outcome) => {
    together[i] = 'reply' in outcome ? (outcome.reply as InferenceResult).token_ids : []
  })
  expect(together).toEqual(alone)
  expect(runs['vision']!.reduce((a, b) => a + b)).toBe(2)
  expect(runs['queries']!.reduce((a, b) => a + b)).toBe(4)
})

test('an instruction that the Q-Former cannot read is refused, and a long history is cut from its beginning', async () => {
  const { queries } = model.manifest
  const text = { ...queries.text!, positions: 60 }
  const small = { ...model, manifest: { ...model.manifest, queries: { ...queries, text } } }
  const ask = (request: Partial<InferenceRequest>) =>
    runOne(small, caches(), { image, ...request }, { check() {} })
  await expect(ask({ question: 'q '.repeat(59) })).rejects.toMatchObject({
    code: 'question_too_long',
    message: 'The question has 61 tokens, but the model reads at most 60. Ask in fewer words.',
  })
  const turn = { question: 'q '.repeat(8), answer: 'a '.repeat(8) }
  const { prompt } = await ask({ question: 'is it?', history: Array(5).fill(turn) })
  expect(model.queryTokenizer!.encode(prompt).length).toBeLessThanOrEqual(60)
  expect(prompt).toMatch(/^(Question: q q .* Answer: a a .*\. ){1,2}is it\?$/)
})

test('an answer has at most 60 tokens, and by the preset of the paper 256 with five beams', () => {
  const { manifest } = model
  expect(completeSettings({}, manifest)).toMatchObject({ max_new_tokens: 60, num_beams: 1 })
  expect(completeSettings({ preset: 'paper' }, manifest)).toMatchObject({
    max_new_tokens: 256,
    num_beams: 5,
    min_length: 1,
    length_penalty: 1,
    repetition_penalty: 1.5,
    penalize_answer_only: true,
    zero_id_as_two: true,
  })
  const short = { preset: 'paper-short', num_beams: 2 }
  expect(completeSettings(short, manifest)).toMatchObject({
    max_new_tokens: 10,
    num_beams: 2,
    length_penalty: 0,
    repetition_penalty: 1,
  })
  expect(() => completeSettings({ preset: 'LAVIS' }, manifest)).toThrow(
    'Expected preset to be one of paper, paper-short, but got "LAVIS".',
  )
  expect(() => completeSettings({ preset: 'paper' })).toThrow('none, because the model has no presets')
})

test('a preset changes the answer, and what is given beside it wins', async () => {
  const question = 'what is it?'
  const paper = await say({ question, settings: { preset: 'paper' } })
  const asked = { ...model.manifest.presets['paper'], max_new_tokens: 20 }
  const cut = await say({ question, settings: { preset: 'paper', max_new_tokens: 20 } })
  expect(cut.token_ids).toEqual((await say({ question, settings: asked })).token_ids)
  expect(paper.token_ids).not.toEqual((await say({ question })).token_ids)
})
