// A disk that fills up in the middle of a build, or takes less at a time than it is given.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openArtifact, verifyFiles } from '../../src/artifact/open.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { SetupError } from '../../src/errors.ts'
import { PLAIN } from '../make-checkpoint.ts'

const disk = vi.hoisted(() => ({
  freeBytes: Number.POSITIVE_INFINITY,
  atOnceBytes: Number.POSITIVE_INFINITY,
}))
vi.mock('node:fs/promises', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs/promises')>()
  const open: typeof fs.open = async (path, flags, mode) => {
    const file = await fs.open(path, flags, mode)
    const write = file.write.bind(file) as (...given: unknown[]) => Promise<unknown>
    const limited = async (bytes: Uint8Array, offset: number, length: number, position: number) => {
      const taken = Math.min(length, disk.freeBytes, disk.atOnceBytes)
      if (length > 0 && taken === 0)
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), {
          code: 'ENOSPC',
          syscall: 'write',
        })
      disk.freeBytes -= taken
      return write(bytes, offset, taken, position)
    }
    return Object.assign(file, { write: limited })
  }
  return { ...fs, open }
})

let room: string
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  Object.assign(disk, { freeBytes: Number.POSITIVE_INFINITY, atOnceBytes: Number.POSITIVE_INFINITY })
})
afterEach(() => rm(room, { recursive: true }))

const build = () => buildArtifact(PLAIN, join(room, 'out'), { precision: 'int8' })

test.each([0, 1, 1000, 50_000])('full after %i bytes: an error, and nothing is left', async (freeBytes) => {
  disk.freeBytes = freeBytes
  const error = await build().catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(SetupError)
  expect((error as SetupError).code).toBe('disk_refused')
  expect((error as SetupError).message).toContain('ENOSPC')
  expect(await readdir(room)).toEqual([])
})

test('full while an artifact is rebuilt: the one before stays whole', async () => {
  const manifest = await build()
  disk.freeBytes = 1000
  await expect(build()).rejects.toBeInstanceOf(SetupError)
  await verifyFiles(join(room, 'out'), await openArtifact(join(room, 'out')))
  expect(await openArtifact(join(room, 'out'))).toEqual(manifest)
  expect(await readdir(room)).toEqual(['out'])
})

test('that takes a little at a time gets every byte', async () => {
  disk.atOnceBytes = 777
  await build()
  await verifyFiles(join(room, 'out'), await openArtifact(join(room, 'out')))
})
