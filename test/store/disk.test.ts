// The store on disk: what every store promises, and what is left by a process that died. An answer gets lost as on a
// network's file system: the call was done, and its second try finds it done.

import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openDiskStore } from '../../src/store/disk.ts'
import { conformsToStore } from './conformance.ts'

let isLost = false
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  const twice =
    (name: 'link' | 'rename') =>
    async (from: string, to: string): Promise<void> => {
      await real[name](from, to)
      if (!isLost) return
      isLost = false
      await real[name](from, to)
    }
  return { ...real, link: twice('link'), rename: twice('rename') }
})

let folder: string
let passedMs = 0
const now = () => Date.now() + passedMs
const open = () => openDiskStore(folder, now)
const DAY_MS = 86_400_000
const SOME = new Uint8Array([1])

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-store-'))
  passedMs = 0
})
afterEach(() => rm(folder, { recursive: true, force: true }))

conformsToStore(
  open,
  (ms) => {
    passedMs += ms
  },
  () => {
    isLost = true
  },
)

test('sweeping takes what is over and what a dead process was writing, and nothing else', async () => {
  const store = await open()
  await store.create('jobs/over', SOME, 1_000)
  await store.create('jobs/kept', SOME, DAY_MS)
  const abandoned = join(folder, 'jobs/.writing-dead')
  await writeFile(abandoned, 'half')
  await utimes(abandoned, new Date(now() + DAY_MS), new Date(now() + DAY_MS))
  passedMs += 3_700_000
  await store.sweep()
  expect(await readdir(join(folder, 'jobs'))).toEqual(['kept'])
})

test('only its owner can read the files', async () => {
  await (await open()).create('jobs/a', SOME, DAY_MS)
  expect((await stat(join(folder, 'jobs/a'))).mode & 0o077).toBe(0)
})

test('a folder that cannot be is said so', async () => {
  await writeFile(join(folder, 'file'), '')
  await expect(openDiskStore(join(folder, 'file/below'))).rejects.toMatchObject({ code: 'no_state' })
})
