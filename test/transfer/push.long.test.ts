// An artifact that is pushed can be fetched; one that was pushed half is none.

import { execFile } from 'node:child_process'
import { truncateSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fetchArtifact } from '../../src/transfer/fetch.ts'
import { type PushOptions, pushArtifact } from '../../src/transfer/push.ts'
import { type Fault, type S3Double, startS3Double } from '../store/s3-double.ts'
import { isSame } from './fault-injection.ts'
import { credentials, type Files, makeModel, writeModel } from './model.ts'

const PLACE = 's3://models/model/v1'
const MIB = 1024 * 1024
/** In units of 64 KiB: 12.5 MiB, in parts of 5 MiB, and less than a part. */
const SIZES = { 'language.data': 200, 'vision.data': 2.5, 'vision.onnx': 0 }
let s3: S3Double
let room: string
let model: Files
let folder: string
beforeEach(async () => {
  s3 = await startS3Double('models')
  room = await mkdtemp(join(tmpdir(), 'glimpse-push-'))
  model = makeModel(1, SIZES)
  folder = join(room, 'artifact')
  await writeModel(folder, model)
})
afterEach(async () => {
  s3.close()
  await rm(room, { recursive: true, force: true })
})

const pushed = (options: PushOptions = {}) =>
  pushArtifact(folder, PLACE, {
    client: { ...credentials(s3), retryMs: 1 },
    streams: { count: 3, partBytes: 5 * MIB },
    ...options,
  })
const fetched = () =>
  fetchArtifact(PLACE, { cacheFolder: join(room, 'cache'), client: { ...credentials(s3), retryMs: 2 } })
const writes = () => s3.asked.filter((line) => /^(PUT|POST)/.test(line))

test('what is pushed is fetched as it was, large files in parts, the manifest last', async () => {
  const progress: number[] = []
  const { sentBytes, skipped } = await pushed({
    onProgress: ({ doneBytes, totalBytes }) => progress.push(doneBytes / totalBytes),
  })
  expect(await isSame(await fetched(), model)).toBe(true)
  expect(s3.objects.get('model/v1/language.data')!.etag).toMatch(/-3"$/)
  expect(s3.unfinished).toBe(0)
  expect(writes().at(-1)).toBe('PUT model/v1/manifest.json')
  expect(progress.at(-1)).toBe(1)
  expect([sentBytes, skipped]).toEqual([202.5 * 64 * 1024, []])
})

test('pushed again, nothing is sent', async () => {
  await pushed()
  s3.asked.length = 0
  expect(await pushed()).toMatchObject({ sentBytes: 0, skipped: [...model.keys()].slice(0, -1) })
  expect(writes()).toEqual([])
})

test('broken off: no model is there, nothing lies about, and the next push sends the rest alone', async () => {
  s3.fault(/^PUT model\/v1\/vision.data/, 500, 6)
  await expect(pushed()).rejects.toMatchObject({
    kind: 'upstream',
    code: 'push_failed',
    message: expect.stringContaining('run the same command again'),
  })
  await expect(fetched()).rejects.toMatchObject({ code: 'no_artifact' })
  s3.asked.length = 0
  expect((await pushed()).skipped).toEqual(['language.data'])
  expect(await isSame(await fetched(), model)).toBe(true)
})

test('broken off within a file: its parts are removed', async () => {
  s3.fault(/^PUT model\/v1\/language.data/, 500, 20)
  await expect(pushed()).rejects.toMatchObject({ code: 'push_failed' })
  expect(s3.unfinished).toBe(0)
  expect(s3.objects.size).toBe(0)
})

test('stopped: said, and its parts are removed', async () => {
  const stop = new AbortController()
  stop.abort()
  await expect(pushed({ signal: stop.signal })).rejects.toMatchObject({ code: 'cancelled' })
  expect(s3.objects.size + s3.unfinished).toBe(0)
})

test('stopped within a file: its parts are removed, and the rest is not sent', async () => {
  const stop = new AbortController()
  const work = pushed({
    signal: stop.signal,
    streams: { count: 1, partBytes: 5 * MIB },
    onProgress: () => stop.abort(),
  })
  await expect(work).rejects.toMatchObject({ code: 'cancelled' })
  expect(s3.objects.size + s3.unfinished).toBe(0)
  expect(writes()).toEqual(['POST model/v1/language.data?uploads', 'PUT model/v1/language.data'])
})

test('a file that becomes shorter while it is sent is no file of the model', async () => {
  s3.misbehave = (asked) => {
    if (asked.startsWith('POST')) truncateSync(join(folder, 'language.data'), 6 * MIB)
    return undefined
  }
  // Of one part at a time no more than the first is read by then.
  await expect(pushed({ streams: { count: 1, partBytes: 5 * MIB } })).rejects.toMatchObject({
    code: 'damaged_artifact',
    message: expect.stringContaining('language.data'),
  })
  expect(s3.objects.has('model/v1/manifest.json')).toBe(false)
})

test.each<[string, RegExp, Fault]>([
  ['the manifest', /^PUT model\/v1\/manifest/, { kind: 'drop' }],
  ['a small file', /^PUT model\/v1\/vision.data/, { kind: 'drop' }],
  ['a large one', /^POST model\/v1\/language.data$/, { kind: 'drop' }],
  [
    'a large one, with 500',
    /^POST model\/v1\/language.data$/,
    { kind: 'status', status: 500, applied: true },
  ],
])('the answer to %s is lost, and all is there', async (_, on, fault) => {
  s3.plan(on, fault)
  expect((await pushed()).skipped).toEqual([])
  expect(await isSame(await fetched(), model)).toBe(true)
  expect(s3.unfinished).toBe(0)
})

test('parts that are gone when they are put together: said, and the next push sends them again', async () => {
  const fault: Fault = { kind: 'status', status: 404, code: 'NoSuchUpload' }
  s3.plan(/^POST model\/v1\/language.data$/, fault)
  await expect(pushed()).rejects.toMatchObject({ kind: 'upstream', code: 'push_failed' })
  expect((await pushed()).skipped).toEqual([])
})

test('the manifest there breaks off on its way, and is read again', async () => {
  await pushed()
  s3.plan(/^GET model\/v1\/manifest/, { kind: 'reset', after: 50 }, 2)
  expect((await pushed()).sentBytes).toBe(0)
  s3.plan(/^GET model\/v1\/manifest/, { kind: 'reset', after: 50 }, 6)
  await expect(pushed()).rejects.toMatchObject({ kind: 'upstream', code: 'push_failed' })
})

test('a bucket that is not there is said so', async () => {
  await expect(pushArtifact(folder, 's3://nowhere/model', { client: credentials(s3) })).rejects.toMatchObject(
    { code: 'no_bucket', message: expect.stringContaining('nowhere') },
  )
})

test('a file of another size or checksum there is replaced', async () => {
  s3.put('model/v1/vision.data', model.get('vision.data')!.subarray(1))
  s3.put('model/v1/vision.onnx', '')
  expect((await pushed()).skipped).toEqual([])
  expect(await isSame(await fetched(), model)).toBe(true)
})

test('a folder that is not what its manifest says is not pushed', async () => {
  const bytes = Buffer.from(model.get('vision.data')!)
  bytes[7]! ^= 1
  await writeFile(join(folder, 'vision.data'), bytes)
  await expect(pushed()).rejects.toMatchObject({ code: 'damaged_artifact' })
  expect(s3.asked).toEqual([])
})

test('another model there is left alone, unless it is to be replaced', async () => {
  await pushed()
  const next = makeModel(2, SIZES)
  await writeModel(folder, next)
  await expect(pushed()).rejects.toMatchObject({
    code: 'destination_taken',
    message: expect.stringContaining('Push to a new prefix'),
  })
  expect(await isSame(await fetched(), model)).toBe(true)
  s3.asked.length = 0
  await pushed({ replace: true })
  expect(await isSame(await fetched(), next)).toBe(true)
})

test('a bucket that refuses names what the role needs', async () => {
  s3.fault(/./, 403, 10)
  await expect(pushed()).rejects.toMatchObject({
    code: 'bucket_refused',
    message: expect.stringContaining('s3:PutObject'),
  })
})

test('the command pushes, says how to run it, and teaches', async () => {
  const env = {
    PATH: process.env.PATH,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    NODE_NO_WARNINGS: '1',
  }
  const glimpse = (...words: string[]) =>
    promisify(execFile)(process.execPath, ['dist/cli/main.js', ...words], { env })
  // The bucket stands in the path where the endpoint is an address in digits.
  const { stdout } = await glimpse('push', folder, PLACE)
  expect(stdout).toContain(`sent to ${PLACE}\nRun it: GLIMPSE_MODEL=${PLACE} npx glimpse serve`)
  expect(await isSame(await fetched(), model)).toBe(true)
  expect((await glimpse('push', '--help')).stdout).toContain('Give each version a prefix of its own.')
  await expect(glimpse('push', folder, 'models/v1')).rejects.toMatchObject({
    stderr: expect.stringContaining('Expected an address like s3://bucket/prefix.'),
  })
})
