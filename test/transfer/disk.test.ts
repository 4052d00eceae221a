// A disk that is too small for a model, fills up on the way, or may not be written.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { fetchArtifact } from '../../src/transfer/fetch.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { isSame } from './fault-injection.ts'
import { credentials, makeModel, PIECE_BYTES, upload } from './model.ts'

const disk = vi.hoisted(() => ({
  freeBytes: Number.POSITIVE_INFINITY,
  atOnceBytes: Number.POSITIVE_INFINITY,
  saysFree: Number.POSITIVE_INFINITY,
  readOnly: false,
}))
vi.mock('node:fs/promises', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs/promises')>()
  const refuse = (code: string, syscall: string) => {
    throw Object.assign(new Error(`${code}: the disk of this test refuses, ${syscall}`), { code, syscall })
  }
  const open: typeof fs.open = async (path, flags, mode) => {
    const file = await fs.open(path, flags, mode)
    const write = file.write.bind(file) as (...given: unknown[]) => Promise<unknown>
    const limited = async (bytes: Uint8Array, offset: number, length: number, position: number) => {
      const taken = Math.min(length, disk.freeBytes, disk.atOnceBytes)
      if (length > 0 && taken === 0) refuse('ENOSPC', 'write')
      disk.freeBytes -= taken
      return write(bytes, offset, taken, position)
    }
    return Object.assign(file, { write: limited })
  }
  const mkdir = (async (...given: Parameters<typeof fs.mkdir>) => {
    if (disk.readOnly) refuse('EROFS', 'mkdir')
    return await fs.mkdir(...given)
  }) as typeof fs.mkdir
  return { ...fs, open, mkdir, statfs: async () => ({ bavail: disk.saysFree, bsize: 1 }) }
})

let s3: S3Double
let room: string
const model = makeModel()
beforeEach(async () => {
  s3 = await startS3Double('models')
  Object.assign(disk, {
    freeBytes: Number.POSITIVE_INFINITY,
    atOnceBytes: Number.POSITIVE_INFINITY,
    saysFree: Number.POSITIVE_INFINITY,
    readOnly: false,
  })
  room = await mkdtemp(join(tmpdir(), 'glimpse-fetch-'))
  upload(s3, model)
})
afterEach(async () => {
  s3.close()
  await rm(room, { recursive: true, force: true })
})

const fetched = () =>
  fetchArtifact('s3://models/model', {
    cacheFolder: room,
    client: { ...credentials(s3), retryMs: 2 },
    streams: { count: 3, pieceBytes: PIECE_BYTES },
  })
const inCache = () => readdir(join(room, 'models')).catch((): string[] => [])

test('too small from the beginning: said before anything large is asked for', async () => {
  disk.saysFree = 300_000
  await expect(fetched()).rejects.toMatchObject({
    kind: 'setup',
    code: 'disk_full',
    message: expect.stringMatching(
      /^Expected 0\.[34] MB of room for .*models\/\w+\.partial, the model s3:\/\/models\/model, but the disk has 0\.3 MB\. Make room, or give another GLIMPSE_CACHE\.$/,
    ),
  })
  expect(s3.asked.filter((line) => line.includes('.data '))).toEqual([])
  expect(await inCache()).toEqual([])
})

test.each([0, 1, 70_000, 300_000])('full after %i bytes: said, and nothing is left', async (freeBytes) => {
  disk.freeBytes = freeBytes
  await expect(fetched()).rejects.toMatchObject({
    kind: 'setup',
    code: 'disk_refused',
    message: expect.stringMatching(/ENOSPC.*Make room, allow writing, or give another GLIMPSE_CACHE\.$/),
  })
  expect(await inCache()).toEqual([])
  disk.freeBytes = Number.POSITIVE_INFINITY
  expect(await isSame(await fetched(), model)).toBe(true)
})

test('read-only: said; a model that is there already is taken', async () => {
  disk.readOnly = true
  await expect(fetched()).rejects.toMatchObject({
    kind: 'setup',
    code: 'disk_refused',
    message: expect.stringContaining('EROFS'),
  })
  disk.readOnly = false
  const folder = await fetched()
  disk.readOnly = true
  expect(await fetched()).toBe(folder)
})

test('one that takes a little at a time gets every byte', async () => {
  disk.atOnceBytes = 777
  expect(await isSame(await fetched(), model)).toBe(true)
})
