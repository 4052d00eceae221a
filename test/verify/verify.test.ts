// References that pass, that fail, and that cannot be used.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { settingsFor } from '../../src/verify/generate-arguments.ts'
import { type Reference, readReference, rowsOf } from '../../src/verify/reference.ts'
import { compare, type FloatsResult, holds } from '../../src/verify/verify.ts'
import { FIXTURES, type RecordedCases, readCases } from '../fixtures.ts'
import { withHeader } from '../make-checkpoint.ts'

const ROOT = join(import.meta.dirname, '../..')
const REFERENCES = join(FIXTURES, 'references')
const QUESTION = 'Question: what is it? Answer:'
let room: string
let model: Model
/** Of the picture disc-40x30.png without a prompt. */
let own: Reference
let recorded: RecordedCases
let file: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), join(room, 'plain'), { precision: 'fp32' })
  model = await openModel(join(room, 'plain'), { threads: 1 })
  own = await readReference(join(REFERENCES, 'plain/disc-40x30-0.safetensors'))
  recorded = await readCases('plain')
})
afterAll(async () => {
  await model.close()
  await rm(room, { recursive: true })
})
beforeEach(() => {
  file = join(room, 'plain.safetensors')
})

interface Values {
  dtype: 'F32' | 'I64' | 'I32'
  shape: number[]
  values: ArrayLike<number>
}
type Tensors = Record<string, Values>

async function write(tensors: Tensors, metadata: Record<string, unknown>): Promise<void> {
  let end = 0
  const bytes: Uint8Array[] = []
  const header: Record<string, unknown> = { __metadata__: metadata }
  for (const [name, { dtype, shape, values }] of Object.entries(tensors)) {
    const typed =
      dtype === 'F32'
        ? Float32Array.from(values)
        : dtype === 'I32'
          ? Int32Array.from(values)
          : BigInt64Array.from(Array.from(values), BigInt)
    bytes.push(new Uint8Array(typed.buffer))
    header[name] = { dtype, shape, data_offsets: [end, end + typed.byteLength] }
    end += typed.byteLength
  }
  await writeFile(file, withHeader(JSON.stringify(header), ...bytes))
}

const floats = (name: string): Values => {
  const { shape, data } = own.tensors.get(name)!
  return { dtype: 'F32', shape, values: data as Float32Array }
}
const STAGES = ['pixel_values', 'vision', 'queries', 'prefix']
const stages = (): Tensors => Object.fromEntries(STAGES.map((name) => [name, floats(name)]))
const ids = (...values: number[]): Values => ({ dtype: 'I64', shape: [values.length], values })
const zeros = (...shape: number[]): Values => ({
  dtype: 'F32',
  shape,
  values: new Float32Array(shape.reduce((a, b) => a * b)),
})

/** What transformers generates for the disc. */
function answer(generation: Record<string, unknown>, prompt: string): number[][] {
  const isAsked = JSON.stringify({ image: 'disc-40x30.png', prompt, generation })
  return recorded.cases.find(({ token_ids: _, ...one }) => JSON.stringify(one) === isAsked)!.token_ids
}

/** Pictures are looked for in the temporary folder, which has none. */
const result = async (pictures = room) => compare(model, [await readReference(file)], () => pictures)

test('stages, a prompt as text, arguments of generate with and without effect', async () => {
  const [expected] = answer({ max_new_tokens: 10, num_beams: 3, length_penalty: -1 }, QUESTION)
  const generation = {
    num_beams: 3,
    length_penalty: -1,
    max_length: model.manifest.queries.count + model.tokenizer.encode(QUESTION).length + 10,
    do_sample: false,
    num_beam_groups: 1,
    output_scores: true,
    top_h: null,
  }
  await write(
    { ...stages(), token_ids: ids(...expected!) },
    {
      kind: 'generate',
      prompt: QUESTION,
      generation: JSON.stringify(generation),
      text: 'for people',
      format: 'pt',
    },
  )
  const { stages: compared } = await result()
  expect(compared.map(({ stage }) => stage)).toEqual(['vision', 'queries', 'prefix', 'token_ids'])
  for (const stage of compared.slice(0, 3) as FloatsResult[]) expect(stage.relativeError).toBeLessThan(1e-4)
  expect(compared[3]).toEqual({ stage: 'token_ids', files: 1, equal: 1, differing: [] })
})

test('ids in place of a prompt, several sequences, 32-bit ids', async () => {
  const generation = { max_new_tokens: 10, num_beams: 4, num_return_sequences: 4 }
  const rows = answer(generation, QUESTION)
  const prompt = model.tokenizer.encode(QUESTION)
  await write(
    {
      ...stages(),
      input_ids: { dtype: 'I64', shape: [1, prompt.length], values: prompt },
      token_ids: { dtype: 'I32', shape: [4, rows[0]!.length], values: rows.flat() },
    },
    { generation: JSON.stringify({ ...generation, eos_token_id: null }) },
  )
  const compared = (await result()).stages
  expect(compared.map(({ stage }) => stage)).toEqual(['vision', 'queries', 'prefix', 'token_ids'])
  expect(compared.at(-1)).toMatchObject({ equal: 1, differing: [] })
})

test('logits of every prompt position', async () => {
  await write({ ...stages(), logits: floats('logits') }, {})
  const last = (await result()).stages.at(-1) as FloatsResult
  expect(last.stage).toBe('logits')
  expect(last.values).toBe((model.manifest.queries.count + 1) * model.language!.vocabulary)
  expect(last.relativeError).toBeLessThan(1e-4)
})

test('without a length an answer has 20 tokens, or as many as positions are left', () => {
  const context = model.language!.context
  const near = { context, room: (length: number) => 30 - length }
  expect(settingsFor(near, {}, [2, 5, 5, 5]).max_new_tokens).toBe(20)
  expect(settingsFor(near, {}, new Array(25).fill(5)).max_new_tokens).toBe(5)
  expect(() => settingsFor(near, {}, new Array(30).fill(5))).toThrow('a prompt of 30 ids leaves none')
})

test('only tokens, of a picture on disk', async () => {
  const [expected] = answer({}, '')
  await write(
    { token_ids: { ...ids(...expected!), shape: [1, expected!.length] } },
    { image: 'disc-40x30.png' },
  )
  expect(await result(REFERENCES)).toEqual({
    stages: [{ stage: 'token_ids', files: 1, equal: 1, differing: [] }],
    missingPictures: [],
  })
})

test('a picture that is not there is named, and the recorded pixels take its place', async () => {
  await write(stages(), { image: 'disc-40x30.png' })
  const { stages: compared, missingPictures } = await result()
  expect(compared.map(({ stage }) => stage)).toEqual(['vision', 'queries', 'prefix'])
  expect(missingPictures).toEqual(['disc-40x30.png'])
})

test.each(['opt-2.7b-caption', 'opt-2.7b-question', 'flan-t5-xl-caption', 'flan-t5-xl-question'])(
  'what transformers publishes can be read: %s',
  async (name) => {
    const published = await readReference(join(ROOT, 'reference/published', `${name}.safetensors`))
    expect(published).toMatchObject({
      kind: 'generate',
      image: 'demo.jpg',
      generation: { max_new_tokens: 20 },
    })
    const eos = name.startsWith('opt') ? 50118 : 1
    expect(rowsOf(published.tensors.get('token_ids')!)[0]!.at(-1)).toBe(eos)
  },
)

test('a token that differs is reported; it fails at fp32 only', async () => {
  const [expected] = answer({}, '')
  const wrong = expected!.map((id, i) => (i === 1 ? id + 1 : id))
  await write({ ...stages(), token_ids: ids(...wrong) }, {})
  const last = (await result()).stages.at(-1)!
  expect(last).toEqual({
    stage: 'token_ids',
    files: 1,
    equal: 0,
    differing: [{ file, expected: [wrong], got: [expected] }],
  })
  expect(holds(last, 1e-4, 'fp32')).toBe(false)
  expect(holds(last, 1e-4, 'int4')).toBe(true)
})

test('an answer that is longer or shorter than recorded is reported', async () => {
  const [expected] = answer({}, '')
  for (const other of [[...expected!, 1], expected!.slice(0, -1)]) {
    await write({ ...stages(), token_ids: ids(...other) }, {})
    expect((await result()).stages.at(-1)).toMatchObject({ equal: 0 })
  }
})

test('ids of a prompt that differ fail at every precision', async () => {
  await write({ ...stages(), input_ids: { ...ids(2, 5), shape: [1, 2] } }, { prompt: QUESTION })
  const last = (await result()).stages.at(-1)!
  expect(last).toMatchObject({ stage: 'input_ids', equal: 0, differing: [{ expected: [[2, 5]] }] })
  expect(holds(last, 1e-4, 'int4')).toBe(false)
})

test('a stage has one row over all files, with the largest error', async () => {
  await write(stages(), {})
  const same = await readReference(file)
  const vision = floats('vision')
  await write(
    { ...stages(), vision: { ...vision, values: Array.from(vision.values, (value) => value / 2) } },
    {},
  )
  const halved = await readReference(file)
  const { stages: compared } = await compare(model, [same, halved, same], () => room)
  expect(compared.map(({ stage, files }) => [stage, files])).toEqual([
    ['vision', 3],
    ['queries', 3],
    ['prefix', 3],
  ])
  const [first, second] = compared as FloatsResult[]
  expect(first!.values).toBe(3 * vision.values.length)
  expect(first!.relativeError).toBeCloseTo(1, 4)
  expect(holds(first!, 0.9, 'fp32')).toBe(false)
  // Each stage has the model's own output as its input, so the queries are as before.
  expect(second!.relativeError).toBeLessThan(1e-4)
  expect(holds(second!, 1e-4, 'fp32')).toBe(true)
})

test('a model that computes NaN never passes', async () => {
  await write({ vision: floats('vision'), pixel_values: floats('pixel_values') }, {})
  const { data, shape } = own.tensors.get('vision')!
  const values = Float32Array.from(data as Float32Array)
  values[3] = Number.NaN
  const broken = { run: async () => ({ vision: Tensor.float32(values, shape) }), close: async () => {} }
  const nan = { ...model, sessions: { ...model.sessions, vision: broken } }
  const [first] = (await compare(nan, [await readReference(file)], () => room)).stages as FloatsResult[]
  expect(first!.maxAbsoluteError).toBeNaN()
  expect(holds(first!, 1e9, 'int4')).toBe(false)
})

test('sampled tokens are not compared', async () => {
  const metadata = { generation: '{"do_sample": true}', image: 'disc-40x30.png' }
  await write({ ...stages(), token_ids: ids(4, 5) }, metadata)
  expect((await result()).stages.map(({ stage }) => stage)).toEqual(['vision', 'queries', 'prefix'])
  await write({ token_ids: ids(4, 5) }, metadata)
  await expect(result(REFERENCES)).rejects.toMatchObject({
    code: 'bad_reference',
    message: expect.stringContaining('it has nothing to compare'),
  })
})

test.each([
  ['an unknown argument', { generation: '{"num_bream": 3}' }, 'num_bream'],
  ['arguments that are not JSON', { generation: 'beams: 3' }, 'its generation is not a JSON object'],
  ['a list of arguments', { generation: '[3]' }, 'its generation is not a JSON object'],
  ['arguments outside of generation', { num_beams: '3' }, 'its metadata has num_beams outside'],
  ['metadata that are not strings', { prompt: 3 }, 'its metadata is not all strings: prompt'],
  [
    'an unknown kind',
    { kind: 'caption' },
    'its kind is "caption", not one of generate, itm, matrix, features',
  ],
  ['an argument that would change tokens', { generation: '{"num_beam_groups": 2}' }, 'num_beam_groups'],
  ['a prompt that leaves no room', { generation: '{"max_length": 6}' }, 'leaves none in max_length 6'],
])('%s are an error', async (_, metadata, message) => {
  await write({ ...stages(), token_ids: ids(...answer({}, '')[0]!) }, metadata)
  await expect(result()).rejects.toMatchObject({
    code: 'bad_reference',
    message: expect.stringContaining(message),
  })
})

test.each<[string, () => Tensors, string, string]>([
  [
    'dims that are no stage of the form',
    () => ({ vision: zeros(17, 24) }),
    'bad_reference',
    'expected vision as [1, P, v] but got [17, 24]',
  ],
  [
    'two pictures',
    () => ({ pixel_values: zeros(2, 3, 28, 28) }),
    'bad_reference',
    'expected pixel_values as [1, 3, H, W] but got [2, 3, 28, 28]',
  ],
  [
    'stages that do not fit each other',
    () => ({ queries: zeros(1, 5, 24), prefix: zeros(1, 4, 24) }),
    'bad_reference',
    'expected prefix as [1, Q, d] with Q = 5 but got [1, 4, 24]',
  ],
  [
    'floats in place of ids',
    () => ({ token_ids: zeros(3) }),
    'bad_reference',
    'token_ids holds floats in place of ids',
  ],
  [
    'ids in place of floats',
    () => ({ vision: { dtype: 'I64', shape: [1, 1, 1], values: [1] } }),
    'bad_reference',
    'vision holds ids in place of floats',
  ],
  [
    'logits of another prompt',
    () => ({ ...stages(), logits: zeros(1, 9, 320) }),
    'bad_reference',
    'expected logits as [1, 6, 320] for its prompt but got [1, 9, 320]',
  ],
  [
    'another width',
    () => ({ ...stages(), vision: zeros(1, 17, 32) }),
    'other_checkpoint',
    'v = 24 but got 32',
  ],
  [
    'another image size',
    () => ({ pixel_values: zeros(1, 3, 42, 42) }),
    'other_checkpoint',
    'H = 28 but got 42, W = 28 but got 42',
  ],
  [
    'a stage of other language models',
    () => ({ ...stages(), encoder: zeros(1, 6, 24) }),
    'other_checkpoint',
    'the stage encoder, but plain is of the architecture blip2-opt, with the tasks caption, answer, features',
  ],
])('%s are an error', async (_, tensors, code, message) => {
  await write(tensors(), {})
  await expect(result()).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
})

test.each(['itm', 'matrix'])('a kind that the model is not for is an error: %s', async (kind) => {
  const tensors: Tensors =
    kind === 'matrix' ? { itm_logits: zeros(2, 3, 2), itc: zeros(2, 3) } : { vision: floats('vision') }
  await write(tensors, { kind })
  await expect(result()).rejects.toMatchObject({
    code: 'other_checkpoint',
    message: expect.stringContaining(`results of the kind ${kind}, but plain`),
  })
})

test('without pixels and without pictures there is an error', async () => {
  await write({ vision: floats('vision') }, { image: 'demo.jpg' })
  await expect(result()).rejects.toThrow('its picture demo.jpg on disk, but found neither')
  await write({}, {})
  await expect(result()).rejects.toThrow('it has none of pixel_values')
})
