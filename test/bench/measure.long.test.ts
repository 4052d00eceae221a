// The benchmark on the embedded model: its figures are consistent, and the memory bandwidth is plausible.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { limitOf, productsOf } from '../../src/bench/limits.ts'
import { type Benchmark, measure } from '../../src/bench/measure.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { EMBEDDED_CHECKPOINT, embeddedArtifact } from '../../src/builder/embedded.ts'
import { readConfig } from '../../src/config.ts'
import { glimpse } from '../cli/glimpse.ts'
import { FIXTURES } from '../fixtures.ts'

let room: string
let result: Benchmark
let steps: string[]
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  const artifact = join(room, 'artifact')
  await buildArtifact(EMBEDDED_CHECKPOINT, artifact, { precision: 'int8' })
  const picture = await readFile(join(import.meta.dirname, '../../models/demo/guitars.png'))
  steps = []
  const onStep = (what: string) => void steps.push(what)
  result = await measure(artifact, picture, { threads: 1, rounds: 2, tokens: 5, onStep })
})
afterAll(() => rm(room, { recursive: true }))

test('every stage has a time, and totals are sums of these', () => {
  const { ms } = result
  for (const [stage, time] of Object.entries(ms)) expect(time, stage).toBeGreaterThan(0)
  const { image, pixels, vision, queries, prefill, follow_up, token } = ms as Record<string, number>
  expect(result.question_ms).toBeCloseTo(follow_up! + 4 * token!, 6)
  expect(result.caption_ms).toBeCloseTo(image! + pixels! + vision! + queries! + prefill! + 4 * token!, 6)
  expect(result.warm_caption_ms).toBeCloseTo(5 * token!, 6)
  expect(result.tokens_per_second).toBeCloseTo(1000 / token!, 6)
})

test('each stage is compared with what the processor and the memory allow', () => {
  const { bytes_per_token, memory_bytes_per_second, operations_per_second, ms, limit_ms } = result
  expect(bytes_per_token).toBeGreaterThan(1e6)
  // Memory of any machine reads between 1 GB and 10,000 GB per second.
  expect(memory_bytes_per_second).toBeGreaterThan(1e9)
  expect(memory_bytes_per_second).toBeLessThan(1e13)
  expect(operations_per_second).toBeGreaterThan(1e9)
  for (const [stage, times] of Object.entries(result.times_the_limit) as [keyof typeof limit_ms, number][]) {
    expect(times, stage).toBeCloseTo(ms[stage]! / limit_ms[stage]!, 6)
  }
  // Every product of a token needs its weights once, and its multiplications.
  expect(limit_ms.token).toBeGreaterThanOrEqual((999 * bytes_per_token!) / memory_bytes_per_second)
  expect(limit_ms.prefill).toBeGreaterThanOrEqual(limit_ms.follow_up!)
  expect(limit_ms.follow_up).toBeGreaterThanOrEqual(limit_ms.token!)
})

test('a model that generates no text has the stage of matching in place of tokens', async () => {
  const artifact = join(room, 'itm')
  await buildArtifact(join(FIXTURES, 'checkpoints/itm'), artifact, { precision: 'fp32', trial: false })
  const picture = await readFile(join(import.meta.dirname, '../../models/demo/guitars.png'))
  const { ms, times_the_limit, ...rest } = await measure(artifact, picture, {
    threads: 1,
    rounds: 1,
    tokens: 2,
  })
  expect(Object.keys(ms)).toEqual(['image', 'pixels', 'vision', 'matching'])
  expect(Object.keys(times_the_limit)).toEqual(['vision', 'matching'])
  for (const time of Object.values(ms)) expect(time).toBeGreaterThan(0)
  expect(rest).not.toHaveProperty('tokens_per_second')
  const { code, out } = await glimpse(['bench', '--model', artifact, '--rounds', '1'])
  expect([code, out]).toEqual([0, expect.stringMatching(/matching +[\d.]+ ms/)])
  expect(out).not.toMatch(/caption|undefined|NaN/)
})

test('a limit is the longer of arithmetic and reading, product by product', () => {
  const products = [
    { name: 'wide', elements: 3e6, bytes: 3e6 },
    { name: 'head', elements: 1e6, bytes: 1e6 },
  ]
  const peaks = { operationsPerSecond: 2e9, bytesPerSecond: 1e9 }
  // wide: 3e6 * 10 operations pairs in 30 ms, its 3 MB in 3 ms; head: 1 ms of arithmetic, 1 ms of reading.
  const positions = ({ name }: { name: string }) => (name === 'head' ? 1 : 10)
  expect(limitOf(products, positions, peaks)).toBeCloseTo(31, 9)
  expect(limitOf(products, () => 0, peaks)).toBeCloseTo(4, 9)
})

test('of an encoder-decoder the stages are encoder and decoder step, and a token reads no embedding table', async () => {
  const checkpoint = join(FIXTURES, 'checkpoints/t5-gated')
  const artifact = join(room, 't5')
  await buildArtifact(checkpoint, artifact, { precision: 'fp32', trial: false })
  const picture = await readFile(join(import.meta.dirname, '../../models/demo/guitars.png'))
  const { ms, times_the_limit, ...totals } = await measure(artifact, picture, {
    threads: 1,
    rounds: 1,
    tokens: 3,
  })
  expect(Object.keys(ms)).toEqual(['image', 'pixels', 'vision', 'queries', 'encoder', 'token'])
  expect(Object.keys(times_the_limit)).toEqual(['vision', 'queries', 'encoder', 'token'])
  expect(totals.question_ms).toBeCloseTo(ms.encoder! + 3 * ms.token!, 6)
  expect(totals.warm_caption_ms).toBe(totals.question_ms)
  const { text_config: text } = JSON.parse(await readFile(join(checkpoint, 'config.json'), 'utf8'))
  const { d_model: D, d_ff: F, d_kv, num_heads, num_decoder_layers, vocab_size: V } = text
  const attention = 4 * D * num_heads * d_kv
  // Of the cross-attention the decoder computes queries and output; keys and values are the encoder's.
  const block = attention + attention / 2 + 3 * D * F
  expect(totals.bytes_per_token).toBe(4 * (num_decoder_layers * block + V * D))
})

test('the products of a graph are all of its weights that multiply', async () => {
  // At fp32 no channel has a product of its own beside the others.
  const artifact = await embeddedArtifact(readConfig().cacheFolder)
  const elements = async (graph: string) =>
    (await productsOf(artifact, graph)).reduce((sum, one) => sum + one.elements, 0)
  const { vision_config: vision } = JSON.parse(
    await readFile(join(EMBEDDED_CHECKPOINT, 'config.json'), 'utf8'),
  )
  const { hidden_size: D, intermediate_size: F, num_hidden_layers: layers, patch_size: p } = vision
  expect(await elements('vision')).toBe(layers * (4 * D * D + 2 * D * F) + 3 * p * p * D)
})

test('reports each step', () => {
  expect(steps).toEqual(['prepacking', 'opening', 'round 0 of 2', 'round 1 of 2', 'round 2 of 2'])
})
