// Execution providers: an error names what is missing, and the CPU is a fallback only where the settings allow it.
//
// WebGPU is in onnxruntime-node's package and wants an adapter; without a GPU Chromium's software one will do, slowly:
//   apt-get install chromium libvulkan1
//   VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json npx vitest run test/run/provider.test.ts

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { startEngine } from '../../src/engine/engine.ts'
import { measured, resetMetrics } from '../../src/observe/metrics.ts'
import { Graph } from '../../src/onnx/graph.ts'
import { writeGraphs } from '../../src/onnx/write.ts'
import { resolveProvider } from '../../src/run/provider.ts'
import { openSession, type Provider, tryProvider } from '../../src/run/session.ts'

let folder: string
let artifact: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = await embeddedArtifact(folder)
})
afterAll(() => rm(folder, { recursive: true }))

const isThere = async (provider: Provider) =>
  await tryProvider(provider).then(
    () => true,
    () => false,
  )
const hasCuda = await isThere('cuda')

describe.skipIf(hasCuda)('where there is no CUDA', () => {
  const start = () => ({ artifact, provider: { requested: 'cuda', onUnavailable: 'fail' } as const })

  test('the engine does not start, and says what is missing and what to do', async () => {
    await expect(startEngine(start())).rejects.toMatchObject({
      kind: 'setup',
      code: 'provider_missing',
      message: expect.stringMatching(/^Expected to run on cuda but .+ Or set GLIMPSE_PROVIDER_MISSING=cpu/),
    })
  })

  test('it runs on the CPU where that is allowed, and says so', async () => {
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

// As onnxruntime and CUDA say it; the libraries' own absence is met above.
test.each([
  [
    'cuda',
    'CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version',
    'driver is too old',
  ],
  ['cuda', 'CUDA failure 100: no CUDA-capable device is detected ; GPU=0', 'docker run --gpus all'],
  ['cuda', 'OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library', 'nstall'],
  ['webgpu', 'Failed to get a WebGPU adapter: No supported adapters', 'libvulkan1'],
  ['webgpu', 'something else', 'onnxruntime wrote above'],
] as const)('%s that fails with "%s" is explained', async (requested, native, told) => {
  const attempt = () => Promise.reject(new Error(native))
  const missing = resolveProvider({ requested, onUnavailable: 'fail' }, attempt)
  await expect(missing).rejects.toMatchObject({
    code: 'provider_missing',
    message: expect.stringContaining(told),
    cause: { message: native },
  })
  const { provider, fallback } = await resolveProvider({ requested, onUnavailable: 'cpu' }, attempt)
  expect(provider).toBe('cpu')
  expect(fallback).toContain(told)
})

test('what is there is taken as it is', async () => {
  const there = async () => {}
  expect(await resolveProvider({ requested: 'cuda', onUnavailable: 'cpu' }, there)).toEqual({
    provider: 'cuda',
  })
})

test('a run that asks for more memory than there is says so', async () => {
  const g = Graph.named('huge')
  const dims = g.input('dims', 'int64', [2])
  g.output('y', g.op('Expand', [g.scalar(1), dims]), 'float32', ['A', 'B'])
  await writeGraphs([g], folder)
  const session = await openSession(folder, 'huge', { threads: 1 })
  const run = (size: bigint) =>
    session.run({ dims: { data: BigInt64Array.of(size, size), dims: [2] } }, ['y'])
  expect([...(await run(2n))['y']!.data]).toEqual([1, 1, 1, 1])
  await expect(run(1_000_000_000n)).rejects.toMatchObject({ kind: 'busy', code: 'out_of_memory' })
  await session.close()
})
