// Batches: which requests share one, and that each gets the result that it would get alone.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { takeBatch } from '../../src/engine/batch.ts'
import { type Engine, startEngine } from '../../src/engine/engine.ts'
import { type RequestResult, runBatch, runOne } from '../../src/engine/pipeline.ts'
import type { InferenceRequest, InferenceResult } from '../../src/engine/request.ts'
import { stageCaches } from '../../src/engine/stage-cache.ts'
import { type Model, openLanguageModel, openModel } from '../../src/run/model.ts'
import type { Session } from '../../src/run/session.ts'

const DEMO = join(import.meta.dirname, '../../models/demo')

describe('takeBatch', () => {
  const queue = (count: number) =>
    Array.from({ length: count }, (_, id): { id: number; isAlone?: boolean } => ({ id }))
  const ids = (batch: { id: number }[]) => batch.map(({ id }) => id)

  test('at most maxBatch, in order', () => {
    const waiting = queue(5)
    expect(ids(takeBatch(waiting, 2))).toEqual([0, 1])
    expect(ids(takeBatch(waiting, 8))).toEqual([2, 3, 4])
    expect(waiting).toEqual([])
  })

  test('one that must be alone is', () => {
    const waiting = [...queue(2), { id: 2, isAlone: true }, { id: 3 }]
    expect(ids(takeBatch(waiting, 8))).toEqual([0, 1])
    expect(ids(takeBatch(waiting, 8))).toEqual([2])
    expect(ids(takeBatch(waiting, 8))).toEqual([3])
  })
})

let cache: string
let folder: string
let model: Model
let pictures: Uint8Array[]
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'glimpse-'))
  folder = await embeddedArtifact(cache)
  model = await openModel(folder, { threads: 1 })
  const names = (await readdir(DEMO)).filter((name) => name.endsWith('.png'))
  pictures = await Promise.all(names.map((name) => readFile(join(DEMO, name))))
})
afterAll(async () => {
  await model.close()
  await rm(cache, { recursive: true })
})

/** The model, which says how many pictures each run of its graph `vision` reads. */
function watchVision(model: Model, onRun: (pictures: number) => void): Model {
  const vision = model.sessions['vision']!
  const run: Session['run'] = (feeds, names) => {
    onRun(feeds['pixels']!.dims[0]!)
    return vision.run(feeds, names)
  }
  return { ...model, sessions: { ...model.sessions, vision: { ...vision, run } } }
}

/** Captions and questions of many lengths about all pictures, some pictures twice. */
function mixed(settings: InferenceRequest['settings']): InferenceRequest[] {
  const questions = [
    undefined,
    'what is on the left?',
    'how many things are there, and what colour is the background behind them?',
    'what is this?',
  ]
  const history = [{ question: 'what is on the right?', answer: 'a helicopter' }]
  return [...pictures, ...pictures.slice(0, 4)].map((image, i) => ({
    image,
    question: questions[i % questions.length],
    history: i % 8 === 1 ? history : undefined,
    settings,
  }))
}

async function together(
  requests: readonly InferenceRequest[],
  cache = stageCaches(model.manifest),
  check = (_: number) => {},
) {
  const outcomes: RequestResult[] = []
  const asked = requests.map((request, index) => ({ request, hooks: { check: () => check(index) } }))
  await runBatch(model, cache, asked, (index, outcome) => {
    expect(outcomes[index]).toBeUndefined()
    outcomes[index] = outcome
  })
  return outcomes
}
const alone = (request: InferenceRequest) =>
  runOne(model, stageCaches(model.manifest), request, { check() {} })
const replyOf = (outcome?: RequestResult) =>
  outcome && 'reply' in outcome ? (outcome.reply as InferenceResult) : undefined
const codeOf = (outcome?: RequestResult) =>
  outcome && 'error' in outcome ? (outcome.error as { code?: string }).code : undefined

describe('runBatch', () => {
  test.each([{}, { num_beams: 3 }, { num_beams: 3, num_return_sequences: 2, length_penalty: 2 }])(
    'each request gets the tokens that it would get alone: %j',
    async (settings) => {
      const requests = mixed(settings)
      const outcomes = await together(requests)
      for (const [i, request] of requests.entries()) {
        const { sequences, prompt, picture, text } = await alone(request)
        expect(replyOf(outcomes[i])).toMatchObject({ sequences, prompt, picture, text })
      }
    },
  )

  test('of different settings each gets what it gets alone: greedy, beams, sampling, streaming, any length', async () => {
    const sampling = { do_sample: true, temperature: 1.5, max_new_tokens: 9, min_new_tokens: 9 }
    const requests: (InferenceRequest & { stream?: boolean })[] = [
      { image: pictures[0], stream: true },
      { image: pictures[1], settings: { num_beams: 4, num_return_sequences: 3, length_penalty: 2 } },
      { image: pictures[2], settings: { ...sampling, seed: 5 }, stream: true },
      { image: pictures[2], settings: { ...sampling, seed: 6 } },
      { image: pictures[3], settings: { ...sampling, num_beams: 3, seed: 5 } },
      { image: pictures[3], settings: { ...sampling, num_return_sequences: 4, seed: 7 }, question: 'what?' },
      { image: pictures[4], settings: { max_new_tokens: 1 }, question: 'is it big? '.repeat(9) },
      { image: pictures[5], settings: { num_beams: 0 } },
      { image: pictures[5], settings: { do_sample: 'yes' } as never },
      { image: pictures[5], settings: { eos_token_id: 1e9 } },
      { image: pictures[5], settings: { repetition_penalty: 1.7, no_repeat_ngram_size: 2 }, prompt: 'a' },
      { image: pictures[6] },
    ]
    const pieces: string[][] = requests.map(() => [])
    const cancelled = new Error('cancelled')
    let checks = 0
    const outcomes: RequestResult[] = []
    const items = requests.map(({ stream, ...request }, index) => ({
      request,
      hooks: {
        check() {
          // The last one is cancelled amid its tokens.
          if (index === 11 && ++checks > 6) throw cancelled
        },
        onToken: stream ? (piece: string) => pieces[index]!.push(piece) : undefined,
      },
    }))
    await runBatch(model, stageCaches(model.manifest), items, (index, outcome) => {
      expect(outcomes[index]).toBeUndefined()
      outcomes[index] = outcome
    })

    expect(outcomes[11]).toEqual({ error: cancelled })
    const codes = [7, 8, 9].map((i) => [i, 'bad_settings'])
    expect([...outcomes.keys()].map((i) => [i, codeOf(outcomes[i])]).filter(([, code]) => code)).toEqual(
      codes,
    )
    for (const i of [0, 1, 2, 3, 4, 5, 6, 10]) {
      const { stream, ...request } = requests[i]!
      const { text, sequences, prompt } = await alone(request)
      expect(replyOf(outcomes[i]), String(i)).toMatchObject({ text, sequences, prompt })
      expect(pieces[i]!.join('').trimEnd(), String(i)).toBe(stream ? text : '')
    }
    // The seeds differ, so a generator that rows shared would show.
    expect(replyOf(outcomes[2])!.token_ids).not.toEqual(replyOf(outcomes[3])!.token_ids)
  })

  test('beams and sampled sequences beyond 32 rows wait until rows have left, and get the same tokens', async () => {
    const many = [{ num_beams: 20 }, { num_beams: 12, num_return_sequences: 2 }, {}, { num_beams: 40 }]
    const sampled = { do_sample: true, num_return_sequences: 16, seed: 3 }
    const requests = [...many, sampled, sampled].map(
      (settings, i): InferenceRequest => ({
        image: pictures[0]!,
        question: `what is number ${i}?`,
        settings: { ...settings, max_new_tokens: 3 + i },
      }),
    )
    const language = model.sessions['language']!
    const sizes: number[] = []
    const run: Session['run'] = (feeds, names) => {
      sizes.push(feeds['input_ids']!.dims[0]!)
      return language.run(feeds, names)
    }
    const sessions = { ...model.sessions, language: { ...language, run } }
    const watched = { ...model, sessions, language: openLanguageModel(model.manifest, sessions)! }
    const outcomes: RequestResult[] = []
    const items = requests.map((request) => ({ request, hooks: { check() {} } }))
    await runBatch(watched, stageCaches(model.manifest), items, (index, outcome) => {
      outcomes[index] = outcome
    })
    for (const [i, request] of requests.entries()) {
      expect(replyOf(outcomes[i])?.sequences, String(i)).toEqual((await alone(request)).sequences)
    }
    // 40 beams have to run, but beside nothing else.
    expect(sizes.filter((size) => size > 32).every((size) => size === 40)).toBe(true)
    expect(Math.max(...sizes.filter((size) => size <= 32))).toBe(32)
  })

  test('a damaged picture, one that is no picture, and a question too long fail alone', async () => {
    const requests: InferenceRequest[] = [
      { image: pictures[0] },
      { image: pictures[1]!.slice(0, 500) },
      { image: new TextEncoder().encode('no picture') },
      { image: pictures[2], question: 'why? '.repeat(2000) },
      { picture: 'f'.repeat(64) },
      { image: pictures[3] },
    ]
    const outcomes = await together(requests)
    expect(outcomes.map(codeOf)).toEqual([
      undefined,
      'damaged_picture',
      'not_a_picture',
      'question_too_long',
      'picture_forgotten',
      undefined,
    ])
    expect(replyOf(outcomes[0])!.token_ids).toEqual((await alone(requests[0]!)).token_ids)
    expect(replyOf(outcomes[5])!.token_ids).toEqual((await alone(requests[5]!)).token_ids)
  })

  test('settings that leave one request no token fail that one only', async () => {
    // This model may generate six words, none twice, and the odd prompt holds five of them.
    const settings = { no_repeat_ngram_size: 1, max_new_tokens: 3, min_new_tokens: 3 }
    const words = [300, 301, 302, 303, 304, 305]
    const ids = Array.from({ length: model.language!.vocabulary }, (_, id) => id)
    const encode = (text: string) => (text === 'odd' ? words.slice(1) : model.tokenizer.encode(text))
    const terse = {
      ...model,
      nonTokenIds: ids.filter((id) => !words.includes(id)),
      tokenizer: { ...model.tokenizer, encode },
    }
    const requests = [
      { image: pictures[0], settings },
      { image: pictures[2], prompt: 'odd', settings },
      { image: pictures[1], settings },
    ]
    const outcomes: RequestResult[] = []
    const asked = requests.map((request) => ({ request, hooks: { check() {} } }))
    await runBatch(terse, stageCaches(model.manifest), asked, (index, outcome) => {
      outcomes[index] = outcome
    })
    expect(outcomes.map(codeOf)).toEqual([undefined, 'bad_settings', undefined])
    for (const i of [0, 2]) {
      const { token_ids } = await runOne(terse, stageCaches(model.manifest), requests[i]!, { check() {} })
      expect(replyOf(outcomes[i])!.token_ids).toEqual(token_ids)
    }
  })

  test('a picture of two requests is encoded once, and its time is in the timings of both', async () => {
    let encoded = 0
    const watched = watchVision(model, (pictures) => {
      encoded += pictures
    })
    const outcomes: RequestResult[] = []
    const [image] = pictures
    const asked = [{ image }, { image, question: 'what is this?' }, { image: pictures[1] }].map(
      (request) => ({
        request,
        hooks: { check() {} },
      }),
    )
    await runBatch(watched, stageCaches(model.manifest), asked, (index, outcome) => {
      outcomes[index] = outcome
    })
    expect(encoded).toBe(2)
    const [first, second] = outcomes.map((outcome) => replyOf(outcome)!.timings_ms)
    expect(first!.vision).toBeGreaterThan(0)
    expect(second!.vision).toBe(first!.vision)
    for (const { image, pixels, vision, queries, tokens, total } of [first!, second!]) {
      expect(total).toBeGreaterThanOrEqual(image + pixels + vision + queries + tokens - 0.1)
    }
  })

  test('where pictures are encoded one by one, no request waits for the pictures behind its own', async () => {
    const { manifest } = model
    const odd = { ...model, manifest: { ...manifest, vision: { ...manifest.vision, width: 1_000_000 } } }
    const order: string[] = []
    const cache = stageCaches(model.manifest)
    const { picture } = await runOne(odd, cache, { image: pictures[5]! }, { check() {} })
    const requests: InferenceRequest[] = [
      { image: pictures[0] },
      { image: pictures[1] },
      { image: pictures[0], question: 'what is this?' },
      { picture },
    ]
    const asked = requests.map((request) => ({ request, hooks: { check() {} } }))
    const watched = watchVision(odd, (pictures) => order.push(`encode ${pictures}`))
    await runBatch(watched, cache, asked, (index) => order.push(`answer ${index}`))
    expect(order).toEqual(['answer 3', 'encode 1', 'answer 2', 'answer 0', 'encode 1', 'answer 1'])
  })

  test('a cancelled request does not end the others; when all are cancelled the run ends', async () => {
    const requests = mixed({ max_new_tokens: 12, min_new_tokens: 12 }).slice(0, 4)
    let checks = 0
    const cancelled = new Error('cancelled')
    const some = await together(requests, stageCaches(model.manifest), (index) => {
      // Number 1 is cancelled amid its tokens: `check` is called once a stage and once a token.
      if (index === 1 && ++checks > 12) throw cancelled
    })
    expect(some[1]).toEqual({ error: cancelled })
    for (const i of [0, 2, 3]) {
      expect(replyOf(some[i])!.token_ids).toEqual((await alone(requests[i]!)).token_ids)
    }
    let checked = 0
    const none = await together(requests, stageCaches(model.manifest), () => {
      if (++checked > 30) throw cancelled
    })
    expect(none).toEqual(requests.map(() => ({ error: cancelled })))
    expect(checked).toBeLessThan(40)
  })
})

describe('an engine that batches', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await startEngine({ artifact: folder, threads: 1, maxBatch: 8 })
  })
  afterAll(() => engine.close())

  test('gives the same answers as one that does not, with invalid and cancelled requests in between', async () => {
    const requests = mixed({})
    const stop = new AbortController()
    const answers = requests.map((request) => engine.answer(request))
    const bad = engine.answer({ image: new TextEncoder().encode('no picture') })
    const left = engine.answer({ image: pictures[5] }, { signal: stop.signal })
    const late = engine.answer({ image: pictures[6], deadlineMs: 1 })
    const pieces: string[] = []
    const stream = engine.answer({ image: pictures[0] }, { onToken: (piece) => pieces.push(piece) })
    // By then the next batch is sent, this request in it, and none of it is answered.
    answers[0]!.then(() => stop.abort())
    await Promise.all([
      expect(bad).rejects.toMatchObject({ code: 'not_a_picture' }),
      expect(left).rejects.toMatchObject({ code: 'cancelled' }),
      expect(late).rejects.toMatchObject({ code: 'deadline' }),
    ])
    const { text: whole } = await stream
    expect(pieces.join('')).toBe(whole)
    for (const [i, request] of requests.entries()) {
      const { timings_ms, text, token_ids } = await answers[i]!
      expect({ text, token_ids }).toEqual({
        text: (await alone(request)).text,
        token_ids: (await alone(request)).token_ids,
      })
      expect(timings_ms.total).toBeGreaterThanOrEqual(timings_ms.queue + timings_ms.tokens - 0.1)
    }
    expect(engine.pending).toBe(0)
  })
  test.each([
    { num_beams: Number.NaN },
    { num_beams: '3' },
    { num_beams: 1e300 },
    { num_return_sequences: 10n },
    { max_new_tokens: [5] },
    { beams: 2 },
    'num_beams',
  ])('refuses the settings %s, and answers the others of the batch', async (settings) => {
    const [first, refused, last] = await Promise.allSettled([
      engine.answer({ image: pictures[0] }),
      engine.answer({ image: pictures[1], settings: settings as never }),
      engine.answer({ image: pictures[2] }),
    ])
    expect(refused).toMatchObject({ reason: { kind: 'request', code: 'bad_settings' } })
    expect([first.status, last.status]).toEqual(['fulfilled', 'fulfilled'])
  })

  test('takes absent settings in any form, and refuses a task that does not exist', async () => {
    const [image] = pictures
    const { text } = await engine.answer({ image })
    for (const settings of [undefined, null, {}, { num_beams: undefined }]) {
      expect((await engine.answer({ image, settings: settings as never })).text).toBe(text)
    }
    await expect(engine.answer({ image, task: 'levitation' } as never)).rejects.toMatchObject({
      code: 'bad_field',
    })
  })
})
