// A disk that is too small for a pull, or fills up during it: an error says so, and received bytes are kept.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openArtifact, verifyFiles } from '../../src/artifact/open.ts'
import { pull } from '../../src/hub/pull.ts'
import { FIXTURES } from '../fixtures.ts'
import { type Double, REPOSITORY, startDouble } from './double.ts'

const disk = vi.hoisted(() => ({ freeBytes: Number.POSITIVE_INFINITY, saysFree: Number.POSITIVE_INFINITY }))
vi.mock('node:fs/promises', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs/promises')>()
  const open: typeof fs.open = async (path, flags, mode) => {
    const file = await fs.open(path, flags, mode)
    const append = file.appendFile.bind(file)
    const limited = async (bytes: Uint8Array) => {
      const fits = Math.min(bytes.length, disk.freeBytes)
      disk.freeBytes -= fits
      await append(bytes.subarray(0, fits))
      if (fits < bytes.length)
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), {
          code: 'ENOSPC',
          syscall: 'write',
        })
    }
    return Object.assign(file, { appendFile: limited })
  }
  return { ...fs, open, statfs: async () => ({ bavail: disk.saysFree, bsize: 1 }) }
})

let room: string
let double: Double
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  double = await startDouble(join(FIXTURES, 'checkpoints/half-shards'))
  Object.assign(disk, { freeBytes: Number.POSITIVE_INFINITY, saysFree: Number.POSITIVE_INFINITY })
})
afterEach(async () => {
  await double.close()
  await rm(room, { recursive: true })
})

const pulled = () =>
  pull({ endpoint: double.endpoint }, REPOSITORY, join(room, 'out'), {
    precision: 'int8',
    revision: 'main',
    trial: false,
  })
const large = () => double.asked.filter((line) => /^model-\d+-of-\d+\.safetensors( \d+-)?$/.test(line))

test('too small from the beginning: nothing large is fetched', async () => {
  disk.saysFree = 100_000
  await expect(pulled()).rejects.toMatchObject({
    code: 'disk_full',
    message: expect.stringContaining('Make room'),
  })
  expect(large()).toEqual([])
})

test.each([0, 1000, 60_000, 200_000])(
  'full after %i bytes: an error, and resumed once there is room',
  async (freeBytes) => {
    disk.freeBytes = freeBytes
    await expect(pulled()).rejects.toMatchObject({
      code: 'disk_refused',
      message: expect.stringContaining('ENOSPC'),
    })
    expect(await readdir(room)).toEqual(['out.download'])
    const before = large().length
    disk.freeBytes = Number.POSITIVE_INFINITY
    await verifyFiles(join(room, 'out'), await pulled())
    expect((await openArtifact(join(room, 'out'))).source.checkpoint).toBe(REPOSITORY)
    // Three files of weights; the one under way when the disk was full was asked for twice.
    expect(large().length).toBeLessThanOrEqual(Math.max(3, before + 3))
  },
)
