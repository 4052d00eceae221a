// A push waits for a bucket that is out of service. The waits pass at once: they move a clock that decides when the bucket
// answers again.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { pushArtifact } from '../../src/transfer/push.ts'
import { startS3Double } from '../store/s3-double.ts'
import { credentials, makeModel, writeModel } from './model.ts'

let nowMs = 0
vi.mock('node:timers/promises', () => ({
  setTimeout: async (ms: number) => {
    nowMs += ms
  },
}))

test('an outage of 15 s does not end a push, even with the shortest waits', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const s3 = await startS3Double('models')
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-push-'))
  onTestFinished(async () => {
    vi.restoreAllMocks()
    s3.close()
    await rm(folder, { recursive: true })
  })
  await writeModel(folder, makeModel(1))
  s3.misbehave = (request) =>
    request.startsWith('PUT') && nowMs < 15_000 ? { kind: 'status', status: 503 } : undefined
  const { skipped } = await pushArtifact(folder, 's3://models/m', { client: credentials(s3) })
  expect(nowMs).toBeGreaterThanOrEqual(15_000)
  expect(skipped).toEqual([])
  expect(s3.objects.has('m/manifest.json')).toBe(true)
})
