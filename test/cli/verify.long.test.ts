// `glimpse verify` as a process, with three references, twice.

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

test('verify passes for the artifact that the references were recorded from, and fails for another', async () => {
  const pictures = join(FIXTURES, 'references')
  const names = ['disc-40x30-0', 'triangle-33x57-1', 'disc-40x30-2']
  const references = names.map((name) => join(pictures, 'plain', `${name}.safetensors`))
  const { out, code } = await glimpse(['verify', artifact, ...references, '--pictures', pictures])
  const rows = out.split('\n').map((line) => line.split(/\s+/))
  expect(rows.map(([stage, files]) => [stage, files]).slice(1, 8)).toEqual(
    ['pixel_values', 'vision', 'queries', 'prefix', 'input_ids', 'logits', 'token_ids'].map((stage) => [
      stage,
      '3',
    ]),
  )
  expect(rows.slice(1, 8).map((row) => row.at(-1))).toEqual(new Array(7).fill('yes'))
  expect(out).toMatch(/\nPassed\.\n$/)
  expect(code).toBe(0)
  const small = join(folder, 'int4')
  await glimpse(['build', join(FIXTURES, 'checkpoints/plain'), '--out', small, '--precision', 'int4'])
  const strict = await glimpse(['verify', '--json', '--tolerance', '1e-4', small, ...references])
  const result = JSON.parse(strict.out)
  expect(result).toMatchObject({ holds: false, tolerance: 1e-4, tokens: { compared: 3 } })
  expect(result.stages[0]).toMatchObject({ stage: 'vision', files: 3 })
  expect(result.stages[0].relativeError).toBeGreaterThan(1e-4)
  expect(result.missingPictures).toEqual(['disc-40x30.png', 'triangle-33x57.png'])
  expect(strict.code).toBe(1)
})
