// The embedded model, picture bytes -> reply: correct captions and answers, and a fixed reply to unknown objects.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { type Engine, startEngine } from '../../src/engine/engine.ts'

const MODELS = join(import.meta.dirname, '../../models')
let folder: string
let engine: Engine

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  engine = await startEngine({ artifact: await embeddedArtifact(folder) })
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})

interface Scene {
  file: string
  caption: string
  out_of_domain: boolean
  questions: { kind: string; question: string; answer: string }[]
}
const scenesOf = async (set: string): Promise<Scene[]> =>
  (await readFile(join(MODELS, set, 'scenes.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('new scenes with designs of the training set', () => {
  /** The first scenes of the committed set. `glimpse evaluate` measures all of them. */
  const SCENES = 40

  test('at least 70 % of captions and 85 % of answers are exact', async () => {
    const scenes = (await scenesOf('evaluation/seen')).slice(0, SCENES)
    const captions: boolean[] = []
    const answers: boolean[] = []
    for (const { file, caption, questions } of scenes) {
      const image = await readFile(join(MODELS, 'evaluation/seen', file))
      captions.push((await engine.answer({ image })).text === caption)
      for (const { question, answer } of questions) {
        answers.push((await engine.answer({ image, question })).text === answer)
      }
    }
    const share = (results: boolean[]) => results.filter(Boolean).length / results.length
    expect(share(captions)).toBeGreaterThanOrEqual(0.7)
    expect(share(answers)).toBeGreaterThanOrEqual(0.85)
  })
})

test('captions every demo picture correctly', async () => {
  const scenes = await scenesOf('demo')
  const pictures = (await readdir(join(MODELS, 'demo'))).filter((name) => name !== 'scenes.jsonl')
  expect(scenes.map(({ file }) => file).sort()).toEqual(pictures.sort())
  for (const { file, caption } of scenes) {
    const image = await readFile(join(MODELS, 'demo', file))
    expect((await engine.answer({ image })).text, file).toBe(caption)
  }
})

test('replies that it does not know an object outside of its training', async () => {
  const scene = (await scenesOf('demo')).find(({ out_of_domain }) => out_of_domain)!
  const image = await readFile(join(MODELS, 'demo', scene.file))
  const unknown = true
  expect(await engine.answer({ image })).toMatchObject({ text: 'something i do not know', unknown })
  const question = 'what is this?'
  expect(await engine.answer({ image, question })).toMatchObject({ text: 'i am not sure', unknown })
})

test('a conversation of ten questions is answered like ten first questions', async () => {
  const scenes = (await scenesOf('evaluation/seen')).filter(({ out_of_domain }) => !out_of_domain).slice(0, 6)
  let asked = 0
  const worse: string[] = []
  for (const { file, questions } of scenes) {
    const image = await readFile(join(MODELS, 'evaluation/seen', file))
    const history: { question: string; answer: string }[] = []
    for (let turn = 0; turn < 10; turn++) {
      const { question, answer } = questions[turn % questions.length]!
      const first = await engine.answer({ image, question })
      const later = await engine.answer({ image, question, history })
      asked++
      if (first.text === answer && later.text !== answer)
        worse.push(`${file}: ${question} after ${turn} turns`)
      history.push({ question, answer: later.text })
    }
  }
  expect(asked).toBe(60)
  // 2 points below the first question.
  expect(worse.length, worse.join('; ')).toBeLessThanOrEqual(1)
})

test('of a history it reads three turns, the last that have an answer', async () => {
  const image = await readFile(join(MODELS, 'demo/crab-and-helicopter.png'))
  const history = [
    { question: 'how many things are there?', answer: 'two' },
    { question: 'what color is the background?', answer: 'yellow' },
    { question: 'what is on the left?', answer: 'a crab' },
    { question: 'what is on the right?', answer: 'a helicopter' },
    { question: 'who made it?', answer: 'I am not sure.' },
    { question: 'why?', answer: ' ' },
  ]
  const { prompt } = await engine.answer({ image, question: 'is there a crab?', history })
  expect(prompt).toBe(
    'Question: what color is the background? Answer: yellow. Question: what is on the left? Answer: a crab. ' +
      'Question: what is on the right? Answer: a helicopter. Question: is there a crab? Answer:',
  )
})

test('case, spelling and punctuation of a question do not change the answer', async () => {
  const image = await readFile(join(MODELS, 'demo/crab-and-helicopter.png'))
  const answers = await Promise.all(
    ['what color is the background?', 'What colour is the background', 'WHAT COLOR IS THE BACKGROUND?'].map(
      async (question) => (await engine.answer({ image, question })).text,
    ),
  )
  expect(answers).toEqual(['yellow', 'yellow', 'yellow'])
})

test('beam search gives the greedy text, and streaming gives it in pieces', async () => {
  const image = await readFile(join(MODELS, 'demo/crab-and-helicopter.png'))
  const pieces: string[] = []
  const greedy = await engine.answer({ image }, { onToken: (piece) => pieces.push(piece) })
  expect(pieces.join('')).toBe(greedy.text)
  expect(pieces.length).toBeGreaterThan(5)
  const beams = await engine.answer({ image, settings: { num_beams: 4 } })
  expect(beams.text).toBe(greedy.text)
})

test('the model card names what the model recognizes', () => {
  expect(engine.model.about?.sees).toContain('moji')
  expect(engine.model.about?.nouns?.length).toBeGreaterThanOrEqual(60)
})
