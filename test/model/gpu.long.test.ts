// `glimpse build --for gpu`: every product has a GPU kernel, and the graphs give the right numbers on the CPU too.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Manifest, VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { EMBEDDED_CHECKPOINT } from '../../src/builder/embedded.ts'
import { runBatch } from '../../src/engine/pipeline.ts'
import type { InferenceResult } from '../../src/engine/request.ts'
import { stageCaches } from '../../src/engine/stage-cache.ts'
import { AS_SEEN, decode } from '../../src/image/decode.ts'
import { toPixels } from '../../src/image/pixels.ts'
import { ModelProto } from '../../src/onnx/proto.ts'
import { imagesPerRun, itemsPerRun } from '../../src/run/micro-batch.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { runVision } from '../../src/run/vision.ts'

const DEMO = join(import.meta.dirname, '../../models/demo')
const pictures = await Promise.all(
  ['crab-and-helicopter', 'guitars', 'umbrellas-above-eggplants', 'sunflower-basketball-watermelon'].map(
    (name) => readFile(join(DEMO, `${name}.png`)),
  ),
)

let room: string
const manifests: Record<string, Manifest> = {}
const models: Record<string, Model> = {}
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  for (const [name, options] of Object.entries({
    exact: { precision: 'fp32' },
    cpu: { precision: 'int8' },
    gpu: { precision: 'int8', target: 'gpu' },
    small: { precision: 'int4', target: 'gpu' },
  } as const)) {
    manifests[name] = await buildArtifact(EMBEDDED_CHECKPOINT, join(room, name), { ...options, name: 'pico' })
    models[name] = await openModel(join(room, name), { threads: 1 })
  }
})
afterAll(async () => {
  for (const model of Object.values(models)) await model.close()
  await rm(room, { recursive: true })
})

async function visionOf({ sessions, preprocessorConfig }: Model): Promise<Float32Array> {
  const { data, dims } = toPixels(await decode(pictures[0]!, AS_SEEN), preprocessorConfig)
  const vision = await runVision(sessions[VISION.graph]!, Tensor.float32(data, dims))
  return await vision.floats()
}

async function operatorsOf(name: string): Promise<Set<string>> {
  const bytes = await readFile(join(room, name, 'vision.onnx'))
  const { graph } = ModelProto.toObject(ModelProto.decode(bytes)) as {
    graph: { node: { op_type: string }[] }
  }
  return new Set(graph.node.map(({ op_type }) => op_type))
}

test.each(['gpu', 'small'])(
  'vision of %s is in blocks of 8 bits, and the manifest says so and why',
  async (name) => {
    const operators = await operatorsOf(name)
    expect(operators).toContain('MatMulNBits')
    expect(operators).not.toContain('MatMulIntegerToFloat')
    expect(await operatorsOf('cpu')).toContain('MatMulIntegerToFloat')
    const { target, recipe } = manifests[name]!
    expect(target).toBe('gpu')
    expect(recipe[0]).toMatchObject({
      format: { kind: 'blocks', bits: 8, block: 128 },
      reason: expect.stringContaining('GPU'),
    })
  },
)

test('8 bits in blocks and 8-bit products have errors of the same size', async () => {
  const exact = await visionOf(models['exact']!)
  const error = async (name: string) => {
    const found = await visionOf(models[name]!)
    const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
    return norm(found.map((value, i) => value - exact[i]!)) / norm(exact)
  }
  const [gpu, cpu] = [await error('gpu'), await error('cpu')]
  expect(gpu).toBeGreaterThan(1e-5)
  expect(gpu).toBeLessThan(0.05)
  expect(cpu).toBeLessThan(0.05)
  expect(gpu / cpu).toBeGreaterThan(0.5)
  expect(gpu / cpu).toBeLessThan(2)
})

describe('items in one run', () => {
  test('several images of a small model, whatever the target', () => {
    expect(imagesPerRun(manifests['cpu']!)).toBeGreaterThan(1)
    expect(imagesPerRun(manifests['gpu']!)).toBe(imagesPerRun(manifests['cpu']!))
  })

  test('few items of a large model on a CPU, and more on a GPU', () => {
    const { vision } = manifests['gpu']!
    const large = { ...manifests['gpu']!, vision: { ...vision, patches: 257, width: 1408 } }
    expect(imagesPerRun(large, 'cpu')).toBe(1)
    expect(imagesPerRun(large, 'cuda')).toBe(5)
    /** Values of a row of opt-2.7b: 32 queries and a prompt. */
    const row = (promptTokens: number) => (32 + promptTokens) * 2560
    expect(itemsPerRun(row(8), 'cpu')).toBe(2)
    expect(itemsPerRun(row(500), 'cpu')).toBe(1)
    expect(itemsPerRun(row(8), 'cuda')).toBe(8)
  })

  test.each(['cpu', 'gpu', 'small'])('a batch gives the answers of single requests: %s', async (name) => {
    const model = models[name]!
    const requests = [...pictures, pictures[0]!].map((image, i) => ({
      request: { image, question: i % 2 === 0 ? undefined : 'what is on the left?' },
      hooks: { check() {} },
    }))
    const texts = async (some: typeof requests) => {
      const found: unknown[] = []
      await runBatch(model, stageCaches(model.manifest), some, (index, outcome) => {
        found[index] = 'reply' in outcome ? (outcome.reply as InferenceResult).token_ids : outcome.error
      })
      return found
    }
    const alone: unknown[] = []
    for (const one of requests) alone.push(...(await texts([one])))
    expect(await texts(requests)).toEqual(alone)
    expect(alone[0]).toHaveLength((alone[4] as number[]).length)
  })
})
