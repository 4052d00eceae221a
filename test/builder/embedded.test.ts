// The embedded model in the cache: what an earlier version or a crash left there is built anew.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FORMAT } from '../../src/artifact/contract.ts'
import { openArtifact } from '../../src/artifact/open.ts'
import { embeddedArtifact } from '../../src/builder/embedded.ts'

let cache: string
let folder: string
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'glimpse-'))
  folder = await embeddedArtifact(cache)
})
afterAll(() => rm(cache, { recursive: true }))

test('of the format before it is built anew', async () => {
  const file = join(folder, 'manifest.json')
  const manifest = JSON.parse(await readFile(file, 'utf8'))
  await writeFile(file, JSON.stringify({ ...manifest, format: 'glimpse-artifact/2' }))
  await expect(openArtifact(folder)).rejects.toMatchObject({ code: 'other_format' })
  expect(await embeddedArtifact(cache)).toBe(folder)
  expect((await openArtifact(folder)).format).toBe(FORMAT)
})
