// The tasks `match` and `features` on fixture checkpoints: what they compute, what they share, and what they refuse.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MATCHING, VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { type RequestResult, runBatch } from '../../src/engine/pipeline.ts'
import type { BaseRequest } from '../../src/engine/request.ts'
import { type StageCaches, stageCaches } from '../../src/engine/stage-cache.ts'
import type { FeatureFields, FeatureResult } from '../../src/engine/tasks/features.ts'
import type { MatchFields, MatchResult } from '../../src/engine/tasks/match.ts'
import { cleanedAsInLavis } from '../../src/engine/tasks/text.ts'
import { sha256Hex } from '../../src/hash.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { readReference } from '../../src/verify/reference.ts'
import { FIXTURES } from '../fixtures.ts'
import { relativeError } from '../tensors.ts'

const SAME = 1e-4
const TEXTS = ['a cat on the table', 'a dog', '', 'what color is the car? it is red and white']
const NAMES = ['itm', 'plain', 't5-gated']
let room: string
const models: Record<string, Model> = {}
let image: Uint8Array
let other: Uint8Array

beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  for (const name of NAMES) {
    const folder = join(room, name)
    await buildArtifact(join(FIXTURES, 'checkpoints', name), folder, { precision: 'fp32', trial: false })
    models[name] = await openModel(folder, { threads: 1 })
  }
  image = await readFile(join(FIXTURES, 'references/disc-40x30.png'))
  other = await readFile(join(FIXTURES, 'references/triangle-33x57.png'))
})
afterAll(async () => {
  for (const model of Object.values(models)) await model.close()
  await rm(room, { recursive: true })
})

type Request = BaseRequest & Partial<MatchFields & FeatureFields> & { question?: string }

/** The outcomes of requests in one batch. */
async function outcomes(model: Model, requests: readonly Request[], caches?: StageCaches) {
  const found: RequestResult[] = []
  const items = requests.map((request) => ({ request, hooks: { check() {} } }))
  await runBatch(model, caches ?? stageCaches(model.manifest), items, (i, outcome) => {
    found[i] = outcome
  })
  return found
}
async function answered<T>(model: Model, request: Request, caches?: StageCaches): Promise<T> {
  const [outcome] = await outcomes(model, [request], caches)
  if ('error' in outcome!) throw outcome.error
  return outcome!.reply as unknown as T
}
const match = (fields: Partial<Request>, caches?: StageCaches) =>
  answered<MatchResult>(models['itm']!, { task: 'match', image, texts: TEXTS, ...fields }, caches)
const features = (name: string, fields: Partial<Request>) =>
  answered<FeatureResult>(models[name]!, { task: 'features', ...fields })
const expected = async (checkpoint: string, file: string, name: string) => {
  const reference = await readReference(join(FIXTURES, 'references', checkpoint, `${file}.safetensors`))
  return reference.tensors.get(name)!.data as Float32Array
}

/** The model, with the names of the graphs that run in `runs`, in order. */
function watched(model: Model): { model: Model; runs: string[] } {
  const runs: string[] = []
  const sessions = Object.fromEntries(
    Object.entries(model.sessions).map(([name, session]) => [
      name,
      {
        ...session,
        run(...run: Parameters<typeof session.run>) {
          runs.push(name)
          return session.run(...run)
        },
      },
    ]),
  )
  return { model: { ...model, sessions }, runs }
}

describe('match', () => {
  test('probability, logits and contrastive score are those of transformers, best first', async () => {
    const logits = await expected('itm', 'matrix', 'itm_logits')
    const itc = await expected('itm', 'matrix', 'itc')
    const recorded = ['a cat on the table', 'A dog -- on the BEACH!', '', TEXTS[3]!]
    const { matches, text } = await match({ texts: recorded })
    expect(matches.map((one) => one.text).sort()).toEqual([...recorded].sort())
    for (const one of matches) {
      const i = recorded.indexOf(one.text)
      const [no, yes] = logits.slice(2 * i, 2 * i + 2)
      expect(relativeError(one.logits!, [no!, yes!])).toBeLessThan(SAME)
      // One softmax, not two.
      expect(one.probability).toBeCloseTo(1 / (1 + Math.exp(no! - yes!)), 5)
      expect(one.contrastive).toBeCloseTo(itc[i]!, 5)
    }
    const order = matches.map(({ probability }) => probability!)
    expect(order).toEqual([...order].sort((a, b) => b - a))
    expect(new Set(order).size).toBe(4)
    expect(text).toBe(matches[0]!.text)
  })

  test('by the contrastive score alone, nothing reads picture and text together', async () => {
    const { model, runs } = watched(models['itm']!)
    const request = { task: 'match', image, texts: TEXTS, rank_by: 'contrastive' } as const
    const { matches } = await answered<MatchResult>(model, request)
    const scores = matches.map(({ contrastive }) => contrastive)
    expect(scores).toEqual([...scores].sort((a, b) => b - a))
    expect(matches.every((one) => !('probability' in one) && !('logits' in one))).toBe(true)
    const all = await match({})
    for (const one of matches)
      expect(one.contrastive).toBe(all.matches.find(({ text }) => text === one.text)!.contrastive)
    expect(runs.filter((name) => name === MATCHING.graph)).toHaveLength(1)
  })

  test('texts more than fit a run have the scores of each alone', async () => {
    const many = Array.from({ length: 30 }, (_, i) => TEXTS[3]!.slice(0, i + 1))
    const { matches } = await match({ texts: many })
    expect(matches).toHaveLength(30)
    for (const { text, logits } of matches.slice(0, 5)) {
      const [one] = (await match({ texts: [text] })).matches
      expect(relativeError(logits!, one!.logits!)).toBeLessThan(SAME)
    }
  })

  test('requests about one picture and about two in a batch equal each alone', async () => {
    const model = models['itm']!
    const requests = [
      { task: 'match', image, texts: TEXTS.slice(0, 2) },
      { task: 'match', image: other, texts: TEXTS },
      { task: 'match', image, texts: TEXTS.slice(1) },
      { task: 'features', image, text: 'a dog' },
    ]
    const together = await outcomes(model, requests)
    for (const [i, request] of requests.entries()) {
      const one = await answered<MatchResult & FeatureResult>(model, request)
      const found = together[i] as unknown as { reply: MatchResult & FeatureResult }
      const numbers = ({ matches, features: own }: MatchResult & FeatureResult) =>
        matches?.flatMap(({ logits, contrastive }) => [...logits!, contrastive]) ??
        Object.values(own).flatMap(({ data }) => data as number[])
      expect(relativeError(numbers(found.reply), numbers(one))).toBeLessThan(SAME)
    }
  })

  test('the second request about a picture runs neither decoding nor vision nor its queries', async () => {
    const { model, runs } = watched(models['itm']!)
    const caches = stageCaches(model.manifest)
    const first = await answered<MatchResult>(model, { task: 'match', image, texts: TEXTS }, caches)
    expect(runs).toEqual([VISION.graph, MATCHING.graph, 'text', MATCHING.graph])
    runs.length = 0
    const picture = sha256Hex(image)
    const second = await answered<MatchResult>(model, { task: 'match', picture, texts: TEXTS }, caches)
    expect(runs).toEqual(['text', MATCHING.graph])
    expect(second.matches).toEqual(first.matches)
  })

  test('a picture that is not cached has to be sent again', async () => {
    await expect(match({ image: undefined, picture: sha256Hex(image) })).rejects.toMatchObject({
      code: 'picture_forgotten',
    })
  })

  test('a text longer than the positions of the model is refused; as in LAVIS it is cut', async () => {
    const long = 'dog '.repeat(60)
    await expect(match({ texts: [long] })).rejects.toMatchObject({
      code: 'text_too_long',
      message: expect.stringMatching(/\d\d tokens, but the model reads at most 40/),
    })
    const { matches } = await match({ texts: [long], text_processing: 'lavis' })
    expect(matches[0]!.text).toBe(long)
  })

  test('the text clean-up of LAVIS changes scores, and is off by default', async () => {
    const [plain] = (await match({ texts: ['A dog: red!'] })).matches
    const [cleaned] = (await match({ texts: ['A dog: red!'], text_processing: 'lavis' })).matches
    const [same] = (await match({ texts: ['a dog red'] })).matches
    expect(cleaned!.logits).toEqual(same!.logits)
    expect(relativeError(plain!.logits!, same!.logits!)).toBeGreaterThan(SAME)
  })

  test('a model that does not match refuses', async () => {
    const request = { task: 'match', image, texts: ['a'] }
    await expect(answered(models['plain']!, request)).rejects.toMatchObject({ code: 'no_task' })
  })
})

test.each([
  ['A Dog.', 'a dog'],
  ['a  dog;  (red)', 'a dog red'],
  ['"two" * three~four\n', 'two three four'],
  ["it's 5, isn't it?", "it's 5, isn't it?"],
  [Array.from({ length: 60 }, (_, i) => i).join(' '), Array.from({ length: 50 }, (_, i) => i).join(' ')],
])('as in LAVIS: %j', (text, cleaned) => {
  expect(cleanedAsInLavis(text)).toBe(cleaned)
})

describe('features', () => {
  test('of a picture and a text are those of transformers', async () => {
    const file = 'disc-40x30-0'
    const { features: found } = await features('itm', {
      image,
      text: 'a cat on the table',
      kinds: [
        'vision',
        'image_embeds',
        'image_embeds_proj',
        'text_embeds',
        'text_embeds_proj',
        'multimodal_embeds',
      ],
    })
    const names = {
      vision: 'vision',
      image_embeds: 'queries',
      image_embeds_proj: 'image_embeds',
      text_embeds: 'text_hidden',
      text_embeds_proj: 'text_embeds_all',
      multimodal_embeds: 'multimodal',
    } as const
    for (const [kind, name] of Object.entries(names)) {
      const { shape, data } = found[kind as keyof typeof names]!
      expect(shape.reduce((a, b) => a * b)).toBe(data.length)
      expect(relativeError(data as number[], await expected('itm', file, name)), kind).toBeLessThan(SAME)
    }
  })

  test('without kinds: all of what was given, but the tower', async () => {
    const both = await features('itm', { image, text: 'a dog' })
    expect(Object.keys(both.features)).toEqual([
      'image_embeds',
      'image_embeds_proj',
      'text_embeds',
      'text_embeds_proj',
      'multimodal_embeds',
    ])
    expect(Object.keys((await features('itm', { image })).features)).toEqual([
      'image_embeds',
      'image_embeds_proj',
    ])
    expect(both.text).toMatch(/^image_embeds \[6, 24\], image_embeds_proj \[6, 10\], text_embeds \[\d, 24\]/)
  })

  test('of a text need no picture and run no graph of pictures', async () => {
    const { model, runs } = watched(models['itm']!)
    const request = { task: 'features', text: 'a dog' }
    const found = await answered<FeatureResult & { picture: string }>(model, request)
    expect(Object.keys(found.features)).toEqual(['text_embeds', 'text_embeds_proj'])
    expect(found.picture).toBe('')
    expect(runs).toEqual(['text'])
  })

  test('as base64 are the same numbers', async () => {
    const kinds = ['image_embeds_proj'] as const
    const floats = (await features('itm', { image, kinds })).features.image_embeds_proj!
    const base64 = (await features('itm', { image, kinds, encoding_format: 'base64' })).features
    const bytes = Buffer.from(base64.image_embeds_proj!.data as string, 'base64')
    expect([...new Float32Array(new Uint8Array(bytes).buffer)]).toEqual(floats.data)
    expect(base64.image_embeds_proj!.shape).toEqual(floats.shape)
  })

  test.each(['plain', 't5-gated'])('of a model that generates: %s', async (name) => {
    const file = 'disc-40x30-0'
    const kinds = ['vision', 'image_embeds'] as const
    const found = (await features(name, { image, kinds })).features
    expect(relativeError(found.vision!.data as number[], await expected(name, file, 'vision'))).toBeLessThan(
      SAME,
    )
    expect(
      relativeError(found.image_embeds!.data as number[], await expected(name, file, 'queries')),
    ).toBeLessThan(SAME)
    const text = (await features(name, { text: 'a cat' })).features
    expect(Object.keys(text)).toEqual(['text_features'])
    expect(text.text_features!.shape[1]).toBe(24)
    await expect(features(name, { image, kinds: ['image_embeds_proj'] })).rejects.toMatchObject({
      code: 'no_task',
    })
  })

  test.each([
    ['neither a picture nor a text', {}, 'no_picture'],
    ['a picture that a kind needs', { text: 'a', kinds: ['image_embeds'] }, 'no_picture'],
    ['a text that a kind needs', { picture: 'x', kinds: ['text_embeds'] }, 'bad_field'],
    ['a language model that the model lacks', { text: 'a', kinds: ['text_features'] }, 'no_task'],
  ] as [string, Partial<Request>, string][])('lacking: %s', async (_, fields, code) => {
    await expect(features('itm', fields)).rejects.toMatchObject({ code })
  })
})
