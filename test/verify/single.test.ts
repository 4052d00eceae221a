// References of one picture and one prompt, as other programs record them, are compared like those of reference/record.py.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { settingsFor } from '../../src/verify/generate-arguments.ts'
import { type Reference, readReference } from '../../src/verify/reference.ts'
import { compare } from '../../src/verify/verify.ts'
import { FIXTURES } from '../fixtures.ts'
import { withHeader } from '../make-checkpoint.ts'

const ROOT = join(import.meta.dirname, '../..')
const QUESTION = 'Question: what is it? Answer:'
let room: string
let model: Model
let own: Reference
let file: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), join(room, 'plain'), { precision: 'fp32' })
  model = await openModel(join(room, 'plain'), { threads: 1 })
  own = await readReference(join(FIXTURES, 'references/plain.safetensors'))
})
afterAll(async () => {
  await model.close()
  await rm(room, { recursive: true })
})
beforeEach(() => {
  file = join(room, 'plain.safetensors')
})

type Tensors = Record<string, { dtype: 'F32' | 'I64' | 'I32'; shape: number[]; values: ArrayLike<number> }>

async function write(tensors: Tensors, metadata: Record<string, string>): Promise<void> {
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

/** The stages of the fixture's first picture. */
function stages(): Tensors {
  const { image, patches, vision_width, queries, query_width, width } = model.manifest.sizes
  const shapes = {
    pixel_values: [1, 3, ...image],
    vision: [1, patches, vision_width],
    queries: [1, queries, query_width],
    prefix: [1, queries, width],
  }
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b)
      return [name, { dtype: 'F32', shape, values: own.floats(name).slice(0, size) }]
    }),
  )
}

function answer(settings: string, prompt: number): number[][] {
  const k = own.description.token_ids.findIndex(
    (one) => one.settings === settings && one.picture === 0 && one.prompt === prompt,
  )
  return own.ids(`token_ids.${k}`)
}

const result = async () => compare(model, await readReference(file), room)

test('stages, a prompt as text, arguments of generate with and without effect', async () => {
  const [ids] = answer('beams, penalty -1', 1)
  const { queries } = model.manifest.sizes
  const generation = {
    num_beams: 3,
    length_penalty: -1,
    max_length: queries + own.description.input_ids![1]!.length + 10,
    do_sample: false,
    num_beam_groups: 1,
    output_scores: true,
    top_h: null,
  }
  await write(
    { ...stages(), token_ids: { dtype: 'I64', shape: [ids!.length], values: ids! } },
    {
      kind: 'generate',
      prompt: QUESTION,
      generation: JSON.stringify(generation),
      text: 'for people',
      format: 'pt',
    },
  )
  const { stages: compared, tokens } = await result()
  expect(compared.map(({ stage }) => stage)).toEqual(['vision', 'queries', 'prefix'])
  for (const { relativeError } of compared) expect(relativeError).toBeLessThan(1e-4)
  expect(tokens).toEqual({ compared: 1, equal: 1, differing: [] })
})

test('ids in place of a prompt, several sequences, 32-bit ids', async () => {
  const rows = answer('beams, all returned', 1)
  const ids = own.description.input_ids![1]!
  const generation = { num_beams: 4, num_return_sequences: 4, max_new_tokens: 10, eos_token_id: null }
  await write(
    {
      ...stages(),
      input_ids: { dtype: 'I64', shape: [1, ids.length], values: ids },
      token_ids: { dtype: 'I32', shape: [4, rows[0]!.length], values: rows.flat() },
    },
    { generation: JSON.stringify(generation) },
  )
  expect((await result()).tokens).toEqual({ compared: 1, equal: 1, differing: [] })
})

test('logits of every prompt position', async () => {
  const k = own.description.logits.findIndex(({ picture, prompt }) => picture === 0 && prompt === 0)
  const logits = own.floats(`logits.${k}`)
  const V = model.manifest.sizes.vocabulary
  await write({ ...stages(), logits: { dtype: 'F32', shape: [1, logits.length / V, V], values: logits } }, {})
  const last = (await result()).stages.at(-1)!
  expect(last.stage).toBe('logits')
  expect(last.relativeError).toBeLessThan(1e-4)
})

test('without a length an answer has 20 tokens, or as many as positions are left', () => {
  const { queries } = model.manifest.sizes
  const small = { ...model.manifest.sizes, max_positions: queries + 30 }
  const near = { ...model, manifest: { ...model.manifest, sizes: small } }
  expect(settingsFor(near, {}, 4).max_new_tokens).toBe(20)
  expect(settingsFor(near, {}, 25).max_new_tokens).toBe(5)
  expect(() => settingsFor(near, {}, 30)).toThrow('30 tokens of prompt')
})

test('only tokens, of a picture on disk', async () => {
  const [ids] = answer('defaults', 0)
  await write(
    { token_ids: { dtype: 'I64', shape: [1, ids!.length], values: ids! } },
    { image: 'disc-40x30.png' },
  )
  const { stages: compared, tokens } = await compare(
    model,
    await readReference(file),
    join(FIXTURES, 'references'),
  )
  expect(compared).toEqual([])
  expect(tokens).toEqual({ compared: 1, equal: 1, differing: [] })
})

test.each(['caption', 'question'])(
  'what transformers publishes of opt-2.7b can be read: %s',
  async (name) => {
    const { description, ids } = await readReference(join(ROOT, 'reference/published', `${name}.safetensors`))
    expect(description.pictures).toEqual(['demo.jpg'])
    expect(ids('token_ids.0')[0]!.at(-1)).toBe(50118)
  },
)

test('a token that differs is reported', async () => {
  const [ids] = answer('defaults', 0)
  const values = ids!.map((id, i) => (i === 1 ? id + 1 : id))
  await write({ ...stages(), token_ids: { dtype: 'I64', shape: [ids!.length], values } }, {})
  expect((await result()).tokens).toMatchObject({ compared: 1, equal: 0 })
})

test.each([
  ['an unknown argument', { generation: '{"num_bream": 3}' }, 'num_bream'],
  ['arguments that are not JSON', { generation: 'beams: 3' }, 'its description is wrong'],
  ['arguments outside of generation', { num_beams: '3' }, 'its metadata has num_beams outside'],
  ['another kind', { kind: 'itm' }, 'its kind is "itm"'],
  ['an argument that would change tokens', { generation: '{"num_beam_groups": 2}' }, 'num_beam_groups'],
  ['a prompt that leaves no room', { generation: '{"max_length": 6}' }, 'leave none'],
])('%s are an error', async (_, metadata, message) => {
  const [ids] = answer('defaults', 0)
  await write({ ...stages(), token_ids: { dtype: 'I64', shape: [ids!.length], values: ids! } }, metadata)
  await expect(result()).rejects.toThrow(message)
})

test('without pixels and without pictures there is an error', async () => {
  const { vision } = stages()
  await write({ vision: vision! }, { image: 'demo.jpg' })
  await expect(result()).rejects.toThrow('its pictures (demo.jpg) on disk but found neither')
  await write({}, {})
  await expect(result()).rejects.toThrow('it has none of pixel_values')
})
