// The benchmark on the embedded model: its figures are consistent, and the memory bandwidth is plausible.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Benchmark, measure } from '../../src/bench/measure.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { EMBEDDED_CHECKPOINT } from '../../src/builder/embedded.ts'

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
  expect(result.question_ms).toBeCloseTo(ms.prefill + 4 * ms.token, 6)
  expect(result.caption_ms).toBeCloseTo(ms.image + ms.pixels + ms.vision + ms.queries + result.question_ms, 6)
  expect(result.tokens_per_second).toBeCloseTo(1000 / ms.token, 6)
})

test('over_bandwidth compares a token with the bytes it reads', () => {
  expect(result.bytes_per_token).toBeGreaterThan(1e6)
  // Memory of any machine reads between 1 GB and 10,000 GB per second.
  expect(result.memory_bytes_per_second).toBeGreaterThan(1e9)
  expect(result.memory_bytes_per_second).toBeLessThan(1e13)
  const bound = (1000 * result.bytes_per_token) / result.memory_bytes_per_second
  expect(result.over_bandwidth).toBeCloseTo(result.ms.token / bound, 6)
})

test('reports each step', () => {
  expect(steps).toEqual(['prepacking', 'opening', 'round 0 of 2', 'round 1 of 2', 'round 2 of 2'])
})
