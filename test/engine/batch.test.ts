// Answering together: who goes with whom, and that everybody gets what they would have got alone.

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

describe('who goes together', () => {
  const queue = (...asks: (Partial<InferenceRequest> & { stream?: boolean })[]) =>
    asks.map((ask, id) => ({ id, ...batchShapeOf(ask, ask.stream ?? false) }))
  const ids = (batch: { id: number }[]) => batch.map(({ id }) => id)

  test('the first and those behind it that have the same settings, whatever way they say so', () => {
    const waiting = queue(
      {},
      { settings: { num_beams: 1 } },
      { question: 'q' },
      { settings: { num_beams: 3 } },
    )
    expect(ids(takeBatch(waiting, 8))).toEqual([0, 1, 2])
    expect(ids(waiting)).toEqual([3])
  })

  test('no more than may, and nobody past somebody else', () => {
    const waiting = queue({}, {}, {}, { settings: { max_new_tokens: 3 } }, {})
    expect(ids(takeBatch(waiting, 2))).toEqual([0, 1])
    expect(ids(takeBatch(waiting, 2))).toEqual([2])
    expect(ids(takeBatch(waiting, 2))).toEqual([3])
    expect(ids(takeBatch(waiting, 2))).toEqual([4])
  })

  test.each([
    ['a stream', { stream: true }],
    ['one that draws at random', { settings: { do_sample: true } }],
    ['one with settings that are none', { settings: { num_beams: -1 } }],
  ])('%s goes alone', (_, odd) => {
    const waiting = queue(odd, odd, {}, odd)
    expect(ids(takeBatch(waiting, 8))).toEqual([0])
    expect(ids(takeBatch(waiting, 8))).toEqual([1])
    expect(ids(takeBatch(waiting, 8))).toEqual([2])
  })

  test('beams count as the rows they are', () => {
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
  asks: readonly InferenceRequest[],
  cache = inMemoryEncoderCache(),
  check = (_: number) => {},
) {
  const outcomes: RequestResult[] = []
  const asked = asks.map((request, index) => ({ request, hooks: { check: () => check(index) } }))
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

describe('together', () => {
  test.each([{}, { num_beams: 3 }, { num_beams: 3, num_return_sequences: 2, length_penalty: 2 }])(
    'everybody gets the tokens they would get alone: %j',
    async (settings) => {
      const asks = mixed(settings)
      const outcomes = await together(asks)
      for (const [i, request] of asks.entries()) {
        const { sequences, prompt, picture, text } = await alone(request)
        expect(replyOf(outcomes[i])).toMatchObject({ sequences, prompt, picture, text })
      }
    },
  )

  test('a damaged picture, one that is no picture, and a question too long fail alone', async () => {
    const asks: InferenceRequest[] = [
      { image: pictures[0] },
      { image: pictures[1]!.slice(0, 500) },
      { image: new TextEncoder().encode('no picture') },
      { image: pictures[2], question: 'why? '.repeat(2000) },
      { picture: 'f'.repeat(64) },
      { image: pictures[3] },
    ]
    const outcomes = await together(asks)
    expect(outcomes.map(codeOf)).toEqual([
      undefined,
      'damaged_picture',
      'not_a_picture',
      'question_too_long',
      'picture_forgotten',
      undefined,
    ])
    expect(replyOf(outcomes[0])!.token_ids).toEqual((await alone(asks[0]!)).token_ids)
    expect(replyOf(outcomes[5])!.token_ids).toEqual((await alone(asks[5]!)).token_ids)
  })

  test('settings that leave one of them no token fail that one only', async () => {
    // Six words are left to this model, none may come twice, and the odd prompt holds five of them.
    const settings = { no_repeat_ngram_size: 1, max_new_tokens: 3, min_new_tokens: 3 }
    const words = [300, 301, 302, 303, 304, 305]
    const ids = Array.from({ length: model.manifest.sizes.vocabulary }, (_, id) => id)
    const encode = (text: string) => (text === 'odd' ? words.slice(1) : model.tokenizer.encode(text))
    const terse = {
      ...model,
      nonTokenIds: ids.filter((id) => !words.includes(id)),
      tokenizer: { ...model.tokenizer, encode },
    }
    const asks = [
      { image: pictures[0], settings },
      { image: pictures[2], prompt: 'odd', settings },
      { image: pictures[1], settings },
    ]
    const outcomes: RequestResult[] = []
    const asked = asks.map((request) => ({ request, hooks: { check() {} } }))
    await runBatch(terse, inMemoryEncoderCache(), asked, (index, outcome) => {
      outcomes[index] = outcome
    })
    expect(outcomes.map(codeOf)).toEqual([undefined, 'bad_settings', undefined])
    for (const i of [0, 2]) {
      const { token_ids } = await runOne(terse, inMemoryEncoderCache(), asks[i]!, { check() {} })
      expect(replyOf(outcomes[i])!.token_ids).toEqual(token_ids)
    }
  })

  test('a picture asked about twice is looked at once, and its time is told to both', async () => {
    let looks = 0
    const vision = {
      ...model.vision,
      run: (...given: Parameters<Model['vision']['run']>) => {
        looks += given[0]['pixels']!.dims[0]!
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
    expect(looks).toBe(2)
    const [first, second] = outcomes.map((outcome) => replyOf(outcome)!.timings_ms)
    expect(first!.vision).toBeGreaterThan(0)
    expect(second!.vision).toBe(first!.vision)
    for (const { image, pixels, vision, queries, tokens, total } of [first!, second!]) {
      expect(total).toBeGreaterThanOrEqual(image + pixels + vision + queries + tokens - 0.1)
    }
  })

  test('where pictures gain nothing from each other, nobody waits for those behind', async () => {
    const sizes = { ...model.manifest.sizes, vision_width: 1_000_000 }
    const odd = { ...model, manifest: { ...model.manifest, sizes } }
    const order: string[] = []
    const vision = {
      ...model.vision,
      run: (...given: Parameters<Model['vision']['run']>) => {
        order.push(`look at ${given[0]['pixels']!.dims[0]}`)
        return model.vision.run(...given)
      },
    }
    const cache = inMemoryEncoderCache()
    const { picture } = await runOne(odd, cache, { image: pictures[5]! }, { check() {} })
    const asks: InferenceRequest[] = [
      { image: pictures[0] },
      { image: pictures[1] },
      { image: pictures[0], question: 'what is this?' },
      { picture },
    ]
    const asked = asks.map((request) => ({ request, hooks: { check() {} } }))
    await runBatch({ ...odd, vision }, cache, asked, (index) => order.push(`answer ${index}`))
    expect(order).toEqual(['answer 3', 'look at 1', 'answer 2', 'answer 0', 'look at 1', 'answer 1'])
  })

  test('who leaves does not end the others; when all have left the run ends', async () => {
    const asks = mixed({ max_new_tokens: 12, min_new_tokens: 12 }).slice(0, 4)
    let checks = 0
    const leaving = new Error('left')
    const some = await together(asks, inMemoryEncoderCache(), (index) => {
      // Number 1 leaves amid its tokens: each looks once a stage and once a token.
      if (index === 1 && ++checks > 12) throw leaving
    })
    expect(some[1]).toEqual({ error: leaving })
    for (const i of [0, 2, 3]) {
      expect(replyOf(some[i])!.token_ids).toEqual((await alone(asks[i]!)).token_ids)
    }
    let looked = 0
    const none = await together(asks, inMemoryEncoderCache(), () => {
      if (++looked > 30) throw leaving
    })
    expect(none).toEqual(asks.map(() => ({ error: leaving })))
    expect(looked).toBeLessThan(40)
  })
})

describe('an engine that batches', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await startEngine({ artifact: folder, threads: 1, maxBatch: 8 })
  })
  afterAll(() => engine.close())

  test('gives the same answers as one that does not, bad asks and leavers among them', async () => {
    const asks = mixed({})
    const stop = new AbortController()
    const answers = asks.map((request) => engine.answer(request))
    const bad = engine.answer({ image: new TextEncoder().encode('no picture') })
    const left = engine.answer({ image: pictures[5] }, { signal: stop.signal })
    const late = engine.answer({ image: pictures[6], deadlineMs: 1 })
    const pieces: string[] = []
    const stream = engine.answer({ image: pictures[0] }, { onToken: (piece) => pieces.push(piece) })
    // The next are sent by then, this one among them, and none of them is answered.
    answers[0]!.then(() => stop.abort())
    await Promise.all([
      expect(bad).rejects.toMatchObject({ code: 'not_a_picture' }),
      expect(left).rejects.toMatchObject({ code: 'cancelled' }),
      expect(late).rejects.toMatchObject({ code: 'deadline' }),
    ])
    const { text: whole } = await stream
    expect(pieces.join('')).toBe(whole)
    for (const [i, request] of asks.entries()) {
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
