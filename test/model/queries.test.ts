// The three uses of the Q-Former equal transformers 5.18: queries, queries beside a text, and a text alone, with the weights
// and texts of reference/qformer.py.

import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  openSafetensors,
  readSafetensors,
  WEIGHTS,
  type WholeTensor,
} from '../../src/checkpoint/safetensors.ts'
import { Weights } from '../../src/checkpoint/weights.ts'
import { graphOf, type Part } from '../../src/model/part.ts'
import { ignoreTextBranch, qformer, qformerConfig } from '../../src/model/queries.ts'
import { writeGraphs } from '../../src/onnx/write.ts'
import { runQueries } from '../../src/run/queries.ts'
import { openSession, type Session } from '../../src/run/session.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { FIXTURES } from '../fixtures.ts'
import { relativeError } from '../tensors.ts'

/** Sums of float32 in another order. A wiring mistake gives more than 1e-2. */
const SAME = 1e-5

const USES = ['queries', 'queries_with_text', 'text'] as const
type Use = (typeof USES)[number]

/** Where each model keeps its text embeddings and the norm of its input. */
const MODELS = {
  blip2: { embeddings: 'embeddings', norm: 'qformer.layernorm' },
  instructblip: { embeddings: 'qformer.embeddings', norm: 'qformer.embeddings.layernorm' },
}
type Model = keyof typeof MODELS

const reference = await readSafetensors(join(FIXTURES, 'references/qformer.safetensors'))
const metadata = z.record(z.string(), z.string()).parse(reference.metadata)
const tensor = (name: string): WholeTensor => reference.tensors.get(name)!
const floats = (name: string) => tensor(name).data as Float32Array
const [B = 0, P = 0, width = 0] = tensor('vision').shape
const D = tensor('blip2/queries').shape[2]!

let room: string
let weights: Weights
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await copyFile(join(FIXTURES, 'references/qformer.safetensors'), join(room, WEIGHTS))
  weights = new Weights(await openSafetensors(room), () => ({ kind: 'float32' }))
})
afterAll(() => rm(room, { recursive: true }))

/** A graph of one use of a Q-Former, as an architecture would build it. */
function build(root: Part, model: Model, use: Use): void {
  const json = JSON.parse(metadata[model]!)
  const config = qformerConfig.parse(json)
  const count = Number(json.num_query_tokens)
  const { g } = root
  const part = root.at('qformer')
  const queries = use !== 'text' && {
    tokens: root.parameter('query_tokens', [1, count, D]),
    count,
    vision: g.input('vision', 'float32', ['B', 'P', width]),
    width,
  }
  const text = use !== 'queries' && {
    ids: g.input('text_ids', 'int64', ['B', 'T']),
    mask: g.input('text_mask', 'int64', ['B', 'T']),
    embeddings: root.at(MODELS[model].embeddings),
  }
  const output = qformer(part, root.at(MODELS[model].norm), config, {
    ...(queries && { queries }),
    ...(text && { text }),
  })
  const [name, length] = use === 'text' ? (['text', 'T'] as const) : (['queries', count] as const)
  g.output('result', output[name]!, 'float32', ['B', length, D])
}

async function opened(model: Model, use: Use): Promise<Session> {
  const name = `${model}-${use}`
  await writeGraphs([graphOf(name, weights.at(model), (root) => build(root, model, use))], room)
  return await openSession(room, name, { threads: 1 })
}

const allIds = [...(tensor('text_ids').data as BigInt64Array)].map(Number)
const allMask = [...(tensor('text_mask').data as BigInt64Array)].map(Number)
const T = allIds.length / B
/** The ids of each text, without padding. */
const texts = Array.from({ length: B }, (_, row) =>
  allIds.slice(row * T, (row + 1) * T).filter((_, i) => allMask[row * T + i] === 1),
)
const vision = Tensor.float32(floats('vision'), [B, P, width])
const rowOf = (values: Float32Array, row: number) =>
  values.subarray((row * values.length) / B, ((row + 1) * values.length) / B)

describe.each(Object.keys(MODELS) as Model[])('%s', (model) => {
  test('queries alone', async () => {
    const session = await opened(model, 'queries')
    const { result } = await runQueries(session, vision, ['result'])
    await session.close()
    expect(result!.dims).toEqual(tensor(`${model}/queries`).shape)
    expect(relativeError(await result!.floats(), floats(`${model}/queries`))).toBeLessThan(SAME)
  })

  test('queries beside texts of different lengths, in a batch and alone', async () => {
    const expected = floats(`${model}/queries_with_text`)
    expect(texts.map(({ length }) => length)).toEqual([6, 3, 1])
    const session = await opened(model, 'queries_with_text')
    const { result } = await runQueries(session, vision, ['result'], texts)
    expect(relativeError(await result!.floats(), expected)).toBeLessThan(SAME)
    for (const [row, ids] of texts.entries()) {
      const picture = Tensor.float32(rowOf(floats('vision'), row), [1, P, width])
      const alone = await runQueries(session, picture, ['result'], [ids])
      expect(relativeError(await alone['result']!.floats(), rowOf(expected, row))).toBeLessThan(SAME)
    }
    await session.close()
    // The text matters: the same pictures without it have other queries.
    expect(relativeError(expected, floats(`${model}/queries`))).toBeGreaterThan(0.1)
  })

  test('texts of different lengths alone, without a picture', async () => {
    const session = await opened(model, 'text')
    const feeds = { text_ids: Tensor.int64(allIds, [B, T]), text_mask: Tensor.int64(allMask, [B, T]) }
    const { result } = await session.run(feeds, ['result'])
    await session.close()
    expect(result!.dims).toEqual([B, T, D])
    // What padding gets is not compared: the reference has zeros there.
    const found = (await result!.floats()).map((value, i) => value * allMask[Math.floor(i / D)]!)
    expect(relativeError(found, floats(`${model}/text`))).toBeLessThan(SAME)
  })

  test('the three uses together read all weights; queries alone leave those for text', () => {
    const own = [...reference.tensors].filter(([name]) => name.startsWith(`${model}.`))
    const entries = own.map(([name, { shape }]) => {
      const entry = { name, dtype: 'F32' as const, shape, file: WEIGHTS, offset: 0, sizeBytes: 0 }
      return [name, entry] as const
    })
    const none = { sizeBytes: 0, files: [], async *rows() {} }
    const fresh = () => new Weights({ ...none, entries: new Map(entries) }, () => ({ kind: 'float32' }))
    const all = fresh()
    for (const use of USES) graphOf(use, all.at(model), (root) => build(root, model, use))
    expect(() => all.assertAllUsed()).not.toThrow()
    // Without a text, its MLPs have to be ignored.
    const only = fresh()
    const part = graphOf('queries', only.at(model), (root) => build(root, model, 'queries'))
    expect(part.parts.nodes.length).toBeGreaterThan(10)
    expect(() => only.assertAllUsed()).toThrow('encoder.layer.0-2.intermediate.dense.weight')
    graphOf('none', only.at(model), (root) =>
      ignoreTextBranch(root.at('qformer'), qformerConfig.parse(JSON.parse(metadata[model]!))),
    )
    expect(() => only.assertAllUsed()).toThrow('embeddings')
    expect(() => only.assertAllUsed()).not.toThrow('encoder.layer')
  })
})
