// Several processes, and one cache: they share what one of them fetches, and go on with what a killed one left.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { until } from '../until.ts'
import { isSame } from './fault-injection.ts'
import { credentials, makeModel, PIECE_BYTES, upload } from './model.ts'

/** 20 pieces. */
const model = makeModel(1, { 'language.data': 20, 'tokenizer.json': 0.1 })
let s3: S3Double
let room: string
beforeEach(async () => {
  s3 = await startS3Double('models')
  room = await mkdtemp(join(tmpdir(), 'glimpse-fetch-'))
  upload(s3, model)
})
afterEach(async () => {
  s3.close()
  await rm(room, { recursive: true, force: true })
})

/** Fetches as compiled, one piece after another, and prints the folder. */
function fetching(): ChildProcess {
  const options = {
    cacheFolder: room,
    client: credentials(s3),
    streams: { count: 1, pieceBytes: PIECE_BYTES },
  }
  const code = `const { fetchArtifact } = await import('./dist/transfer/fetch.js')
    process.stdout.write(await fetchArtifact('s3://models/model', ${JSON.stringify(options)}))`
  return spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH, NODE_NO_WARNINGS: '1' },
  })
}
const pieces = () => s3.asked.filter((line) => line.startsWith('GET model/language.data'))
const untilPieces = async (count: number) => {
  await until(() => pieces().length >= count)
}

test('three at once: each gets the folder, whole', async () => {
  s3.bytesPerSecond = 1_000_000
  const folders = await Promise.all([1, 2, 3].map(() => text(fetching().stdout!)))
  expect(new Set(folders).size).toBe(1)
  expect(await isSame(folders[0]!, model)).toBe(true)
  expect(await readdir(join(room, 'models'))).toHaveLength(1)
})

test('killed halfway: the next goes on behind the bytes that are there', async () => {
  s3.bytesPerSecond = 500_000
  const first = fetching()
  await untilPieces(6)
  first.kill('SIGKILL')
  await once(first, 'exit')
  const before = pieces()
  s3.bytesPerSecond = Number.POSITIVE_INFINITY
  s3.asked.length = 0
  expect(await isSame(await text(fetching().stdout!), model)).toBe(true)
  // Of those before the one under way every byte was here; that one alone is asked for again.
  expect(pieces().length).toBeGreaterThan(0)
  expect(pieces().filter((line) => before.slice(0, 5).includes(line))).toEqual([])
  expect(await readdir(join(room, 'models'))).toHaveLength(1)
})
