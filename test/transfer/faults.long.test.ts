// S3 on bad days (seeded; bench/model-faults.ts runs many more): every load gives the model that was pushed or an error
// that says who has to act, after a bounded number of tries, and never leaves what a later start would take for a model.

import { expect, test } from 'vitest'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { measured } from '../measured.ts'
import { FAULTS, type FaultName, fetchOnce, TYPED } from './fault-injection.ts'

/** The first try and five more, of each of the three times a file with a wrong checksum is fetched. */
const MOST_TRIES = 6 * 3

const all = Object.keys(FAULTS) as FaultName[]
test.each<[string, FaultName[]]>([...all.map((kind): [string, FaultName[]] => [kind, [kind]]), ['all', all]])(
  'one request in five meets %s: the right model or a typed failure',
  async (_, kinds) => {
    resetMetrics()
    for (let seed = 1; seed <= 5; seed++) {
      const day = await fetchOnce(kinds, 0.2, seed)
      expect(['right', ...TYPED], `seed ${seed}`).toContain(day.outcome)
      expect(day.looksWhole, `seed ${seed}`).toBe(false)
      expect(day.mostTries, `seed ${seed}`).toBeLessThanOrEqual(MOST_TRIES)
    }
    // What happened is seen by whoever watches: as tries, or, where none helps, as a fault.
    const retries = await measured('glimpse_model_retries_total')
    expect(retries + (await measured('glimpse_faults_total'))).toBeGreaterThan(0)
    if (!kinds.includes('403')) expect(retries).toBeGreaterThan(0)
  },
)

test.each<[FaultName, string]>([
  ['503 SlowDown', 'model_unreachable'],
  ['reset mid-range', 'model_unreachable'],
  ['short body', 'model_unreachable'],
  ['stall', 'model_unreachable'],
  ['403', 'bucket_refused'],
])('%s at every request ends as %s, soon', async (kind, code) => {
  resetMetrics()
  // Only a stall is told by time: a busy machine must not look like one elsewhere.
  const day = await fetchOnce([kind], 1, 1, kind === 'stall' ? 20 : 60_000)
  expect(day.outcome).toBe(code)
  expect(await measured('glimpse_faults_total', { code })).toBe(1)
  expect(day.requests).toBeLessThanOrEqual(6)
})
