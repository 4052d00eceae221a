// The whole path on a fixture checkpoint: the stage caches, the manifest, the prompt, the text and the stream.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DecoderDescription, LANGUAGE, type Manifest } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { type RequestResult, runBatch, runOne } from '../../src/engine/pipeline.ts'
import type { InferenceRequest } from '../../src/engine/request.ts'
import { type StageCaches, stageCaches } from '../../src/engine/stage-cache.ts'
import { type Model, openLanguageModel, openModel } from '../../src/run/model.ts'
import type { Session } from '../../src/run/session.ts'
import { toPrompt } from '../../src/tokens/prompt.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { FIXTURES, readCases } from '../fixtures.ts'

let folder: string
let model: Model
let image: Uint8Array
const hooks = { check() {} }

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), join(folder, 'plain'), { precision: 'fp32' })
  model = await openModel(join(folder, 'plain'), { threads: 1 })
  image = await readFile(join(FIXTURES, 'references/disc-40x30.png'))
})
afterAll(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

const say = (ask: Partial<InferenceRequest>, cache: StageCaches = stageCaches(model.manifest)) =>
  runOne(model, cache, { image, ...ask }, hooks)

test('a caption is what transformers generates from the picture alone', async () => {
  const { cases } = await readCases('plain')
  const recorded = cases.find(
    ({ image, prompt, generation }) =>
      image === 'disc-40x30.png' && prompt === '' && Object.keys(generation).length === 0,
  )
  const reply = await say({})
  expect(reply.token_ids).toEqual(recorded!.token_ids[0])
  expect(reply).toMatchObject({ prompt: '', model: 'plain' })
})

test('the second question about a picture runs neither decoding nor vision nor queries', async () => {
  const cache = stageCaches(model.manifest)
  const first = await say({ question: 'what is it?' }, cache)
  const second = await say({ question: 'what is it?' }, cache)
  expect(first.timings_ms.vision).toBeGreaterThan(0)
  expect(second.timings_ms).toMatchObject({ image: 0, pixels: 0, vision: 0, queries: 0 })
  expect(second.token_ids).toEqual(first.token_ids)
})

describe('a second question about a picture', () => {
  /** A model that records the positions of each row in each run of its language model. */
  function counted() {
    const runs: number[][] = []
    const session = model.sessions[LANGUAGE.graph]!
    const counting: Session = {
      ...session,
      run(feeds, names) {
        const [rows, ids] = feeds[LANGUAGE.input_ids]!.dims
        runs.push([rows!, feeds[LANGUAGE.prefix]!.dims[1]! + ids!])
        return session.run(feeds, names)
      },
    }
    return { runs, model: { ...model, language: openLanguageModel(model.manifest, { language: counting }) } }
  }
  const settings = { max_new_tokens: 1 }
  const history = [{ question: 'what is it?', answer: 'a dog' }]
  const asks: Partial<InferenceRequest>[] = [
    { settings },
    { question: 'what is it?', settings },
    { question: 'is it big?', history, settings },
  ]

  test('reads only its own tokens, and has the answer that it has alone', async () => {
    const { runs, model: own } = counted()
    const caches = stageCaches(model.manifest)
    const lengths: number[] = []
    for (const ask of asks) {
      const reply = await runOne(own, caches, { image, ...ask }, hooks)
      lengths.push(model.language!.start(model.tokenizer.encode(reply.prompt)).length)
      expect(reply.token_ids).toEqual((await say(ask)).token_ids)
    }
    const [, first, second] = lengths as [number, number, number]
    const count = model.manifest.queries.count
    // A caption is the begin token alone, with which the questions begin.
    expect(runs).toEqual([
      [1, count + 1],
      [1, first - 1],
      [1, second - first],
    ])
  })

  test('reads all once the picture is no longer cached', async () => {
    const { runs, model: own } = counted()
    const caches = stageCaches(model.manifest)
    const { picture } = await runOne(own, caches, { image, ...asks[1] }, hooks)
    await caches.queries.set(picture, (await caches.queries.get(picture))!)
    expect(caches.prompts!(picture).get()).toBeDefined()
    await caches.queries.set(picture, { ...(await caches.queries.get(picture))! })
    await runOne(own, caches, { image, ...asks[1] }, hooks)
    expect(runs[1]).toEqual(runs[0])
  })
})

test('another picture is another entry of the cache', async () => {
  const cache = stageCaches(model.manifest)
  await say({}, cache)
  const other = await readFile(join(FIXTURES, 'references/triangle-33x57.png'))
  const reply = await runOne(model, cache, { image: other }, hooks)
  expect(reply.timings_ms.vision).toBeGreaterThan(0)
  expect(await cache.queries.get(reply.picture)).toBeDefined()
})

test('a picture in the cache can be named by its sha256 alone', async () => {
  const cache = stageCaches(model.manifest)
  const first = await say({ question: 'what is it?' }, cache)
  const again = await runOne(model, cache, { picture: first.picture, question: 'what is it?' }, hooks)
  expect(again.token_ids).toEqual(first.token_ids)
  const uncached = runOne(model, stageCaches(model.manifest), { picture: first.picture }, hooks)
  await expect(uncached).rejects.toMatchObject({ code: 'picture_forgotten' })
})

test('question and history become the prompt format of BLIP-2', async () => {
  const history = [{ question: 'what is it?', answer: 'a dog' }]
  const { prompt } = await say({ question: ' is it big? ', history })
  expect(prompt).toBe('Question: what is it? Answer: a dog. Question: is it big? Answer:')
})

test('the oldest turns are left out when the conversation outgrows the model', async () => {
  const history = Array.from({ length: 20 }, (_, i) => ({ question: `what is ${i}?`, answer: `${i}` }))
  const { prompt } = await say({ question: 'and now?', history })
  expect(prompt).toMatch(/Answer: 19\. Question: and now\? Answer:$/)
  expect(prompt).not.toContain('what is 0?')
})

test('of a conversation far too long only the newest turns are encoded, and each once', async () => {
  const encoded: string[] = []
  const encode = (text: string) => {
    encoded.push(text)
    return model.tokenizer.encode(text)
  }
  const counting = { ...model, tokenizer: { ...model.tokenizer, encode } }
  const history = Array.from({ length: 100 }, (_, i) => ({ question: `what is ${i}?`, answer: `${i}` }))
  const ask = { image, question: 'and now?', history, settings: { max_new_tokens: 1 } }
  const { prompt } = await runOne(counting, stageCaches(model.manifest), ask, hooks)

  const form = model.manifest.prompt
  const fits = (turns: typeof history) =>
    model.tokenizer.encode(toPrompt(form, 'and now?', turns)).length < 160 - 5
  const most = Array.from({ length: 100 }, (_, i) => history.slice(i)).find(fits)!
  expect(most.length).toBeGreaterThan(2)
  expect(prompt).toBe(toPrompt(form, 'and now?', most))
  // Each kept turn, one that does not fit, the question, and the whole prompt once with and once without that turn.
  expect(encoded.length).toBeLessThanOrEqual(most.length + 4)
})

test('a question longer than the model can read is a RequestError', async () => {
  await expect(say({ question: 'why? '.repeat(200) })).rejects.toMatchObject({
    kind: 'request',
    code: 'question_too_long',
  })
})

test('an answer ends where the positions end', async () => {
  const { token_ids } = await say({ settings: { max_new_tokens: 2000, min_new_tokens: 2000 } })
  expect(token_ids).toHaveLength(160 - 5 - 1)
})

test('streams the pieces that make up the text', async () => {
  const pieces: string[] = []
  const ask = { image, question: 'what is it?', settings: { max_new_tokens: 12, min_new_tokens: 12 } }
  const { text } = await runOne(model, stageCaches(model.manifest), ask, {
    ...hooks,
    onToken: (piece) => pieces.push(piece),
  })
  expect(text).not.toBe('')
  expect(pieces.join('').trimEnd()).toBe(text)
})

test.each([
  [{ settings: { num_beams: 0 } }, 'num_beams'],
  [{ settings: { num_return_sequences: 2 } }, 'num_return_sequences'],
  [{ settings: { temperature: -1 } }, 'temperature'],
])('refuses settings transformers would refuse: %j', async (ask, word) => {
  await expect(say(ask)).rejects.toMatchObject({
    kind: 'request',
    code: 'bad_settings',
    message: expect.stringContaining(word),
  })
})

test('the same seed samples the same tokens, another seed others', async () => {
  const settings = { do_sample: true, temperature: 2, max_new_tokens: 12, min_new_tokens: 12 }
  const sample = async (seed: number) => (await say({ settings: { ...settings, seed } })).token_ids
  expect(await sample(1)).toEqual(await sample(1))
  expect(await sample(1)).not.toEqual(await sample(2))
})

test('a check that throws ends the run', async () => {
  let left = 4
  const check = () => {
    if (left-- === 0) throw new Error('enough')
  }
  await expect(runOne(model, stageCaches(model.manifest), { image }, { check })).rejects.toThrow('enough')
})

test('padding of the vocabulary and the image token are never generated', async () => {
  const { vocabulary, imageTokenId } = model.language!
  expect(model.nonTokenIds).toContain(imageTokenId)
  expect(model.nonTokenIds).toContain(vocabulary - 1)
  expect(model.nonTokenIds).not.toContain(202)
  // So hot that every id has about the same chance.
  const settings = {
    do_sample: true,
    temperature: 1e6,
    top_k: 0,
    max_new_tokens: 60,
    min_new_tokens: 60,
    num_return_sequences: 16,
  }
  const ids = (await say({ settings })).sequences.flatMap(({ token_ids }) => token_ids)
  expect(ids.filter((id) => model.nonTokenIds.includes(id))).toEqual([])
  expect(new Set(ids).size).toBeGreaterThan(200)
})

test('an end token outside the vocabulary is an error', async () => {
  await expect(say({ settings: { eos_token_id: [2, 320] } })).rejects.toThrow('vocabulary of 320 but got 320')
})

function decoderOf({ manifest: { language } }: Model): DecoderDescription {
  if (language.kind !== 'decoder') throw new Error(`plain is a ${language.kind}`)
  return language
}

test('no text of a question or answer becomes a special token', async () => {
  const nasty = '</s><image>\n<pad> hi\r\n\n<s>'
  const turn = { question: nasty, answer: nasty }
  const { prompt } = await say({ question: nasty, history: [turn], settings: { max_new_tokens: 1 } })
  const ids = model.tokenizer.encode(prompt).slice(1)
  const { bos_token_id, pad_token_id, image_token_id, eos_token_id } = decoderOf(model)
  for (const special of [0, bos_token_id, pad_token_id, image_token_id, ...eos_token_id]) {
    expect(ids).not.toContain(special)
  }
  expect(prompt).not.toMatch(/[\r\n]/)
})

/** The model, with another manifest. */
const withManifest = (part: Partial<Manifest>): Model => ({
  ...model,
  manifest: { ...model.manifest, ...part },
})
const promptOf = async (changed: Model, ask: Partial<InferenceRequest>) =>
  (await runOne(changed, stageCaches(model.manifest), { image, ...ask }, hooks)).prompt

describe('the manifest says', () => {
  const ask = { question: 'and now?', settings: { max_new_tokens: 1 } }
  const history = ['a', 'b', 'c'].map((word) => ({ question: `is it ${word}?`, answer: word }))

  test.each([
    [null, 3],
    [5, 3],
    [3, 3],
    [2, 2],
    [1, 1],
    [0, 0],
  ])('that at most %s turns are read, so of three the newest %i are', async (turns, count) => {
    const { prompt: form } = model.manifest
    const prompt = await promptOf(withManifest({ prompt: { ...form, turns } }), { ...ask, history })
    expect(prompt).toBe(toPrompt(form, 'and now?', history.slice(3 - count)))
    expect(prompt.split('is it ')).toHaveLength(count + 1)
  })

  test('how captions, questions and turns are put to it, and braces of people stay text', async () => {
    const form = {
      caption: 'a photo of',
      question: 'Q: {question} S:',
      turn: '[{question}|{answer}]',
      turns: null,
    }
    const other = withManifest({ prompt: form })
    expect(await promptOf(other, { settings: ask.settings })).toBe('a photo of')
    const braces = { question: 'is {answer} in {question}?', answer: '{question} $& $1' }
    expect(await promptOf(other, { ...ask, question: '{answer} {x} $&', history: [braces] })).toBe(
      '[is {answer} in {question}?|{question} $& $1.] Q: {answer} {x} $& S:',
    )
    expect(await promptOf(other, { prompt: 'as {question} it is', settings: ask.settings })).toBe(
      'as {question} it is',
    )
  })

  test('its defaults of settings, and those of a request win', async () => {
    const generation = { max_new_tokens: 4, min_new_tokens: 4, num_beams: 2 }
    const other = withManifest({ generation })
    const settled = async (changed: Model, settings?: InferenceRequest['settings']) =>
      (await runOne(changed, stageCaches(model.manifest), { image, settings }, hooks)).token_ids
    const own = await settled(other)
    expect(own).toHaveLength(4)
    expect(own).toEqual(await settled(model, generation))
    expect(await settled(other, { max_new_tokens: 6, min_new_tokens: 6 })).toEqual(
      await settled(model, { ...generation, max_new_tokens: 6, min_new_tokens: 6 }),
    )
    // Not given is not the default of transformers.
    expect(await settled(other, { max_new_tokens: undefined, num_beams: undefined })).toEqual(own)
    expect(await settled(other, { num_beams: 1 })).toEqual(
      await settled(model, { max_new_tokens: 4, min_new_tokens: 4 }),
    )
  })

  test('which tasks it has: others are refused', async () => {
    const other = withManifest({ tasks: ['caption', 'levitation'], name: 'odd' })
    expect((await runOne(other, stageCaches(model.manifest), { image }, hooks)).text).toBe(
      (await say({})).text,
    )
    const refused = runOne(other, stageCaches(model.manifest), { image, question: 'what?' }, hooks)
    await expect(refused).rejects.toMatchObject({
      code: 'no_task',
      message: expect.stringMatching(/tasks of odd \(caption, levitation\).*answer/),
    })
  })
})

test('a task that does not exist is refused', async () => {
  for (const task of ['levitation', '', 'constructor', '__proto__', 7, null, { toString: 1 }]) {
    const refused = runOne(model, stageCaches(model.manifest), { image, task: task as never }, hooks)
    await expect(refused).rejects.toMatchObject({
      code: 'bad_field',
      message: expect.stringMatching(/^Expected task/),
    })
  }
})

describe('where the queries read a text', () => {
  /** `plain`, whose queries take a text and ignore it, and what its graphs read. */
  function readingText() {
    const runs: string[] = []
    const sessions = Object.fromEntries(
      Object.entries(model.sessions).map(([name, session]) => {
        const run: Session['run'] = ({ text_ids, text_mask, ...feeds }, outputs) => {
          const texts = text_ids ? ` ${text_ids.dims} ${text_mask!.dims}` : ''
          if (name !== 'language') runs.push(`${name} ${Object.values(feeds)[0]!.dims[0]}${texts}`)
          return session.run(feeds, outputs)
        }
        return [name, { ...session, run }]
      }),
    )
    const text = { tokenizer: 'qformer', vocabulary: 320, positions: 100 }
    const queries = { ...model.manifest.queries, reads_text: true, text }
    const odd = { ...withManifest({ queries }), sessions, queryTokenizer: model.tokenizer }
    const caches = stageCaches(odd.manifest)
    const run = async (...asks: Partial<InferenceRequest>[]) => {
      const results: RequestResult[] = []
      const items = asks.map((ask) => ({ request: { image, ...ask }, hooks }))
      await runBatch(odd, caches, items, (i, result) => (results[i] = result))
      const texts = results.map((result) => ('reply' in result ? result.reply : undefined))
      return { replies: texts, runs: runs.splice(0) }
    }
    return { run, odd, caches }
  }
  const lengthOf = (question: string) =>
    model.tokenizer.encode(toPrompt(model.manifest.prompt, question)).length

  test('two questions about a picture run vision once and queries twice, the same question again neither', async () => {
    const { run } = readingText()
    const [what, how] = ['what is it?', 'how many things are there?']
    const first = await run({ question: what })
    expect(first.runs).toEqual(['vision 1', `queries 1 1,${lengthOf(what)} 1,${lengthOf(what)}`])
    const second = await run({ question: how })
    expect(second.runs).toEqual([`queries 1 1,${lengthOf(how)} 1,${lengthOf(how)}`])
    expect(second.replies[0]!.timings_ms).toMatchObject({ image: 0, pixels: 0, vision: 0 })
    const again = await run({ question: what }, { question: how }, { question: ` ${how} ` })
    expect(again.runs).toEqual([])
    expect(again.replies.map((reply) => reply!.text)).toEqual(
      [first, second, second].map(({ replies }) => replies[0]!.text),
    )
    // By its sha256 alone: vision has it, whatever the question.
    const { picture } = first.replies[0]!
    expect((await run({ image: undefined, picture, question: 'a?' })).runs).toHaveLength(1)
  })

  test('questions of one batch share the run of vision and one of queries, padded to the longest', async () => {
    const { run } = readingText()
    const [what, how] = ['what is it?', 'how many things are there?']
    const both = await run({ question: what }, { question: how }, { question: what })
    expect(both.runs).toEqual(['vision 1', `queries 2 2,${lengthOf(how)} 2,${lengthOf(how)}`])
    const alone = [(await say({ question: what })).text, (await say({ question: how })).text]
    expect(both.replies.map((reply) => reply!.text)).toEqual([...alone, alone[0]])
  })
})

describe('a cached output', () => {
  const told = async (caches: StageCaches) => (await say({ question: 'what is it?' }, caches)).timings_ms

  test('that lacks what a task reads is computed again', async () => {
    const caches = stageCaches(model.manifest)
    await told(caches)
    expect((await told(caches)).queries).toBe(0)
    const { picture } = await say({}, caches)
    const { prefix, ...rest } = (await caches.queries.get(picture))!
    expect(prefix).toBeDefined()
    await caches.queries.set(picture, { ...rest, other: prefix! })
    expect((await told(caches)).queries).toBeGreaterThan(0)
    expect((await told(caches)).queries).toBe(0)
  })

  test('in the form of the version before is computed again and stored anew', async () => {
    const store = inMemoryStore()
    const open = () => stageCaches(model.manifest, { store, ttlMs: 3_600_000 })
    await told(open())
    const [key] = await store.list('queries/')
    await store.replace(key!, new Uint8Array(new Float32Array(64).fill(0.5).buffer), 3_600_000)
    expect((await told(open())).vision).toBeGreaterThan(0)
    expect((await told(open())).vision).toBe(0)
  })
})
