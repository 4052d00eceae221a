// Fewer bits cost the embedded model next to nothing: the same questions on unseen designs, at each precision.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { EMBEDDED_CHECKPOINT } from '../../src/builder/embedded.ts'
import { PRECISIONS, type Precision } from '../../src/quantize/recipes.ts'

const SETS = ['validation', 'test'].map((name) => join(import.meta.dirname, '../../models/evaluation', name))
const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')

let room: string
const right = new Map<Precision, number>()
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  for (const precision of PRECISIONS) {
    const folder = join(room, precision)
    await buildArtifact(EMBEDDED_CHECKPOINT, folder, { precision })
    const { stdout } = await promisify(execFile)(process.execPath, [
      MAIN,
      'evaluate',
      '--json',
      ...SETS,
      '--model',
      folder,
    ])
    const sets = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).questions as { right: number; asked: number })
    const sum = (key: 'right' | 'asked') => sets.reduce((total, set) => total + set[key], 0)
    right.set(precision, (100 * sum('right')) / sum('asked'))
  }
})
afterAll(() => rm(room, { recursive: true }))

test.each([
  ['int8', 0.5],
  ['int4', 1.5],
] as const)('%s loses at most %d points of answers', (precision, most) => {
  expect(right.get('fp32')).toBeGreaterThan(85)
  expect(right.get('fp32')! - right.get(precision)!).toBeLessThanOrEqual(most)
})
