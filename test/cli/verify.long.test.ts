// `glimpse verify` as a process, with 194 cases, twice.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FIXTURES } from '../fixtures.ts'
import { glimpse } from './glimpse.ts'

let folder: string
let artifact: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(folder, 'plain')
  await glimpse(['build', join(FIXTURES, 'checkpoints/plain'), '--out', artifact, '--precision', 'fp32'])
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('verify passes for the artifact that the reference was recorded from, and fails for another', async () => {
  const references = join(FIXTURES, 'references')
  const { out, code } = await glimpse(['verify', artifact, join(references, 'plain.safetensors')])
  expect(out).toContain('194 of 194 cases equal')
  expect(code).toBe(0)
  const small = join(folder, 'int4')
  await glimpse(['build', join(FIXTURES, 'checkpoints/plain'), '--out', small, '--precision', 'int4'])
  const strict = await glimpse([
    'verify',
    '--json',
    '--tolerance',
    '1e-4',
    small,
    join(references, 'plain.safetensors'),
  ])
  expect(JSON.parse(strict.out)).toMatchObject({ holds: false, tokens: { compared: 194 } })
  expect(strict.code).toBe(1)
})
