// The whole path on a fixture checkpoint: the encoder cache, the prompt, the text and the stream.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { inMemoryEncoderCache } from '../../src/engine/encoder-cache.ts'
import { runOne } from '../../src/engine/pipeline.ts'
import type { InferenceRequest } from '../../src/engine/request.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { toPrompt } from '../../src/tokens/prompt.ts'
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

const say = (ask: Partial<InferenceRequest>, cache = inMemoryEncoderCache()) =>
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
  const cache = inMemoryEncoderCache()
  const first = await say({ question: 'what is it?' }, cache)
  const second = await say({ question: 'what is it?' }, cache)
  expect(first.timings_ms.vision).toBeGreaterThan(0)
  expect(second.timings_ms).toMatchObject({ image: 0, pixels: 0, vision: 0, queries: 0 })
  expect(second.token_ids).toEqual(first.token_ids)
})

test('another picture is another entry of the cache', async () => {
  const cache = inMemoryEncoderCache()
  await say({}, cache)
  const other = await readFile(join(FIXTURES, 'references/triangle-33x57.png'))
  const reply = await runOne(model, cache, { image: other }, hooks)
  expect(reply.timings_ms.vision).toBeGreaterThan(0)
  expect(await cache.get(reply.picture)).toBeDefined()
})

test('a picture in the cache can be named by its sha256 alone', async () => {
  const cache = inMemoryEncoderCache()
  const first = await say({ question: 'what is it?' }, cache)
  const again = await runOne(model, cache, { picture: first.picture, question: 'what is it?' }, hooks)
  expect(again.token_ids).toEqual(first.token_ids)
  const uncached = runOne(model, inMemoryEncoderCache(), { picture: first.picture }, hooks)
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
  const { prompt } = await runOne(counting, inMemoryEncoderCache(), ask, hooks)

  const fits = (turns: typeof history) => model.tokenizer.encode(toPrompt('and now?', turns)).length < 160 - 5
  const most = Array.from({ length: 100 }, (_, i) => history.slice(i)).find(fits)!
  expect(most.length).toBeGreaterThan(2)
  expect(prompt).toBe(toPrompt('and now?', most))
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
  const { text } = await runOne(model, inMemoryEncoderCache(), ask, {
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
  await expect(runOne(model, inMemoryEncoderCache(), { image }, { check })).rejects.toThrow('enough')
})

test('padding of the vocabulary and the image token are never generated', async () => {
  const { vocabulary } = model.manifest.sizes
  const { image_token_id } = model.manifest.tokens
  expect(model.nonTokenIds).toContain(image_token_id)
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

test('no text of a question or answer becomes a special token', async () => {
  const nasty = '</s><image>\n<pad> hi\r\n\n<s>'
  const turn = { question: nasty, answer: nasty }
  const { prompt } = await say({ question: nasty, history: [turn], settings: { max_new_tokens: 1 } })
  const ids = model.tokenizer.encode(prompt).slice(1)
  const { bos_token_id, pad_token_id, image_token_id, eos_token_id } = model.manifest.tokens
  for (const special of [0, bos_token_id, pad_token_id, image_token_id, ...eos_token_id]) {
    expect(ids).not.toContain(special)
  }
  expect(prompt).not.toMatch(/[\r\n]/)
})
