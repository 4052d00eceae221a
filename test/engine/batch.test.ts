// Batches: which requests share one, and that each gets the result that it would get alone.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { batchShapeOf, takeBatch } from '../../src/engine/batch.ts'
import { inMemoryEncoderCache } from '../../src/engine/encoder-cache.ts'
import { type Engine, startEngine } from '../../src/engine/engine.ts'
import { type RequestResult, runBatch, runOne } from '../../src/engine/pipeline.ts'
import type { InferenceRequest } from '../../src/engine/request.ts'
import { type Model, openModel } from '../../src/run/model.ts'

const DEMO = join(import.meta.dirname, '../../models/demo')

describe('takeBatch', () => {
  const queue = (...requests: (Partial<InferenceRequest> & { stream?: boolean })[]) =>
    requests.map((ask, id) => ({ id, ...batchShapeOf(ask, ask.stream ?? false) }))
  const ids = (batch: { id: number }[]) => batch.map(({ id }) => id)

  test('the first and those behind it with the same settings, defaults written out or not', () => {
    const waiting = queue(
      {},
      { settings: { num_beams: 1 } },
      { question: 'q' },
      { settings: { num_beams: 3 } },
    )
    expect(ids(takeBatch(waiting, 8))).toEqual([0, 1, 2])
    expect(ids(waiting)).toEqual([3])
  })

  test('at most maxBatch, in order', () => {
    const waiting = queue({}, {}, {}, { settings: { max_new_tokens: 3 } }, {})
    expect(ids(takeBatch(waiting, 2))).toEqual([0, 1])
    expect(ids(takeBatch(waiting, 2))).toEqual([2])
    expect(ids(takeBatch(waiting, 2))).toEqual([3])
    expect(ids(takeBatch(waiting, 2))).toEqual([4])
  })

  test.each([
    ['a stream', { stream: true }],
    ['sampling', { settings: { do_sample: true } }],
    ['one with invalid settings', { settings: { num_beams: -1 } }],
  ])('%s runs alone', (_, odd) => {
    const waiting = queue(odd, odd, {}, odd)
    expect(ids(takeBatch(waiting, 8))).toEqual([0])
    expect(ids(takeBatch(waiting, 8))).toEqual([1])
    expect(ids(takeBatch(waiting, 8))).toEqual([2])
  })

  test('each beam counts as a row', () => {
    const waiting = queue(...Array.from({ length: 20 }, () => ({ settings: { num_beams: 5 } })))
    expect(takeBatch(waiting, 20)).toHaveLength(6)
    const wide = queue({ settings: { num_beams: 64 } }, { settings: { num_beams: 64 } })
    expect(takeBatch(wide, 8)).toHaveLength(1)
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
  cache = inMemoryEncoderCache(),
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
const alone = (request: InferenceRequest) => runOne(model, inMemoryEncoderCache(), request, { check() {} })
const replyOf = (outcome?: RequestResult) => (outcome && 'reply' in outcome ? outcome.reply : undefined)
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
    const ids = Array.from({ length: model.manifest.sizes.vocabulary }, (_, id) => id)
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
    await runBatch(terse, inMemoryEncoderCache(), asked, (index, outcome) => {
      outcomes[index] = outcome
    })
    expect(outcomes.map(codeOf)).toEqual([undefined, 'bad_settings', undefined])
    for (const i of [0, 2]) {
      const { token_ids } = await runOne(terse, inMemoryEncoderCache(), requests[i]!, { check() {} })
      expect(replyOf(outcomes[i])!.token_ids).toEqual(token_ids)
    }
  })

  test('a picture of two requests is encoded once, and its time is in the timings of both', async () => {
    let encoded = 0
    const vision = {
      ...model.vision,
      run: (...given: Parameters<Model['vision']['run']>) => {
        encoded += given[0]['pixels']!.dims[0]!
        return model.vision.run(...given)
      },
    }
    const outcomes: RequestResult[] = []
    const [image] = pictures
    const asked = [{ image }, { image, question: 'what is this?' }, { image: pictures[1] }].map(
      (request) => ({
        request,
        hooks: { check() {} },
      }),
    )
    await runBatch({ ...model, vision }, inMemoryEncoderCache(), asked, (index, outcome) => {
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
    const sizes = { ...model.manifest.sizes, vision_width: 1_000_000 }
    const odd = { ...model, manifest: { ...model.manifest, sizes } }
    const order: string[] = []
    const vision = {
      ...model.vision,
      run: (...given: Parameters<Model['vision']['run']>) => {
        order.push(`encode ${given[0]['pixels']!.dims[0]}`)
        return model.vision.run(...given)
      },
    }
    const cache = inMemoryEncoderCache()
    const { picture } = await runOne(odd, cache, { image: pictures[5]! }, { check() {} })
    const requests: InferenceRequest[] = [
      { image: pictures[0] },
      { image: pictures[1] },
      { image: pictures[0], question: 'what is this?' },
      { picture },
    ]
    const asked = requests.map((request) => ({ request, hooks: { check() {} } }))
    await runBatch({ ...odd, vision }, cache, asked, (index) => order.push(`answer ${index}`))
    expect(order).toEqual(['answer 3', 'encode 1', 'answer 2', 'answer 0', 'encode 1', 'answer 1'])
  })

  test('a cancelled request does not end the others; when all are cancelled the run ends', async () => {
    const requests = mixed({ max_new_tokens: 12, min_new_tokens: 12 }).slice(0, 4)
    let checks = 0
    const cancelled = new Error('cancelled')
    const some = await together(requests, inMemoryEncoderCache(), (index) => {
      // Number 1 is cancelled amid its tokens: `check` is called once a stage and once a token.
      if (index === 1 && ++checks > 12) throw cancelled
    })
    expect(some[1]).toEqual({ error: cancelled })
    for (const i of [0, 2, 3]) {
      expect(replyOf(some[i])!.token_ids).toEqual((await alone(requests[i]!)).token_ids)
    }
    let checked = 0
    const none = await together(requests, inMemoryEncoderCache(), () => {
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
})
