// Execution providers: an unavailable one is explained, and nothing falls back to the CPU unless that is allowed.
//
// WebGPU is in onnxruntime-node's package and needs an adapter. Without a GPU, Chromium's software adapter works, slowly:
//   apt-get install chromium libvulkan1
//   VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json npx vitest run -c vitest.long.config.ts test/run/provider.long.test.ts

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { startEngine } from '../../src/engine/engine.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { Graph } from '../../src/onnx/graph.ts'
import { writeGraphs } from '../../src/onnx/write.ts'
import { resolveProvider } from '../../src/run/provider.ts'
import { openSession, type Provider, tryProvider } from '../../src/run/session.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { measured } from '../measured.ts'

let folder: string
let artifact: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = await embeddedArtifact(folder)
})
afterAll(() => rm(folder, { recursive: true }))

const isAvailable = async (provider: Provider) =>
  await tryProvider(provider).then(
    () => true,
    () => false,
  )
const hasCuda = await isAvailable('cuda')

describe.skipIf(hasCuda)('without CUDA', () => {
  const start = () => ({ artifact, provider: { requested: 'cuda', onUnavailable: 'fail' } as const })

  test('the engine does not start, and its error names what is missing and what to do', async () => {
    await expect(startEngine(start())).rejects.toMatchObject({
      kind: 'setup',
      code: 'provider_missing',
      message: expect.stringMatching(
        /^The provider cuda is unavailable: .+ Or set GLIMPSE_PROVIDER_MISSING=cpu/,
      ),
    })
  })

  test('it falls back to the CPU if that is allowed, and reports it', async () => {
    resetMetrics()
    const engine = await startEngine({ ...start(), provider: { requested: 'cuda', onUnavailable: 'cpu' } })
    const image = await readFile(join(import.meta.dirname, '../../models/demo/crab-and-helicopter.png'))
    expect((await engine.answer({ image, question: 'what is on the left?' })).text).toBe('a crab')
    await engine.close()
    expect(engine.model.provider).toBe('cpu')
    expect(engine.model.fallback).toMatch(/Install|driver|GPU/)
    expect(await measured('glimpse_provider', { provider: 'cpu', fallback: 'true' })).toBe(1)
  })
})

// Messages of onnxruntime and CUDA. The tests above cover missing libraries.
test.each([
  [
    'cuda',
    'CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version',
    'driver is too old',
  ],
  ['cuda', 'CUDA failure 100: no CUDA-capable device is detected ; GPU=0', 'docker run --gpus all'],
  ['cuda', 'OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library', 'nstall'],
  ['webgpu', 'Failed to get a WebGPU adapter: No supported adapters', 'libvulkan1'],
  ['webgpu', 'something else', 'onnxruntime could not start it'],
] as const)('%s that fails with "%s" is explained', async (requested, native, explanation) => {
  const attempt = () => Promise.reject(new Error(native))
  const missing = resolveProvider({ requested, onUnavailable: 'fail' }, attempt)
  await expect(missing).rejects.toMatchObject({
    code: 'provider_missing',
    message: expect.stringContaining(explanation),
    cause: { message: native },
  })
  const { provider, fallback } = await resolveProvider({ requested, onUnavailable: 'cpu' }, attempt)
  expect(provider).toBe('cpu')
  expect(fallback).toContain(explanation)
})

test('an available provider is used', async () => {
  const available = async () => {}
  expect(await resolveProvider({ requested: 'cuda', onUnavailable: 'cpu' }, available)).toEqual({
    provider: 'cuda',
  })
})

test('a run that needs more memory than there is fails with out_of_memory', async () => {
  const g = Graph.named('huge')
  const dims = g.input('dims', 'int64', [2])
  g.output('y', g.op('Expand', [g.scalar(1), dims]), 'float32', ['A', 'B'])
  await writeGraphs([g], folder)
  const session = await openSession(folder, 'huge', { threads: 1 })
  const run = (size: number) => session.run({ dims: Tensor.int64([size, size], [2]) }, ['y'])
  expect([...(await (await run(2))['y']!.floats())]).toEqual([1, 1, 1, 1])
  await expect(run(1_000_000_000)).rejects.toMatchObject({ kind: 'busy', code: 'out_of_memory' })
  await session.close()
})
