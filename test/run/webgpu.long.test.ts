// WebGPU. Needs an adapter: a GPU, or the software adapter of Debian's package `chromium`
// (VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json), which is thousands of times slower.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { embeddedArtifact, startEngine } from '../../src/index.ts'

test('the embedded model gives the same answers on WebGPU as on the CPU', async () => {
  const cache = await mkdtemp(join(tmpdir(), 'glimpse-webgpu-'))
  const artifact = await embeddedArtifact(cache)
  const engine = await startEngine({ artifact, provider: { requested: 'webgpu', onUnavailable: 'fail' } })
  const image = await readFile(join(import.meta.dirname, '../../models/demo/crab-and-helicopter.png'))
  const caption = await engine.answer({ image })
  const left = await engine.answer({ picture: caption.picture, question: 'what is on the left?' })
  await engine.close()
  await rm(cache, { recursive: true, force: true })
  expect(engine.model).toMatchObject({ provider: 'webgpu', fallback: undefined })
  expect(caption.text).toBe('a crab to the left of a helicopter on a yellow background')
  expect(left.text).toBe('a crab')
}, 300_000)
