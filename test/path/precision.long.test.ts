// The embedded model at each precision -> percentage of correct answers on an unseen designer and on scattered things, compared with fp32.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { EMBEDDED_CHECKPOINT } from '../../src/builder/embedded.ts'
import { PRECISIONS, type Precision } from '../../src/quantize/recipes.ts'

const SETS = ['unseen', 'scattered'].map((name) => join(import.meta.dirname, '../../models/evaluation', name))
const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')

let folder: string
/** Percent of correct answers. */
const accuracy = new Map<Precision, number>()
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  for (const precision of PRECISIONS) {
    const artifact = join(folder, precision)
    await buildArtifact(EMBEDDED_CHECKPOINT, artifact, { precision })
    const { stdout } = await promisify(execFile)(process.execPath, [
      MAIN,
      'evaluate',
      '--json',
      ...SETS,
      '--model',
      artifact,
    ])
    const sets = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).questions as { right: number; asked: number })
    const sum = (key: 'right' | 'asked') => sets.reduce((total, set) => total + set[key], 0)
    accuracy.set(precision, (100 * sum('right')) / sum('asked'))
  }
})
afterAll(() => rm(folder, { recursive: true }))

test.each([
  ['int8', 0.5],
  ['int4', 1.5],
] as const)(
  '%s answers at most %d percentage points fewer questions correctly than fp32',
  (precision, maxLoss) => {
    expect(accuracy.get('fp32')).toBeGreaterThan(85)
    expect(accuracy.get('fp32')! - accuracy.get(precision)!).toBeLessThanOrEqual(maxLoss)
  },
)
