// The store in a bucket, with the unmodified SDK: what every store promises, and S3 on a bad day.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openS3Store } from '../../src/store/s3.ts'
import { keepsItsPromises } from './conformance.ts'
import { behavesLikeS3 } from './s3-conformance.ts'
import { type S3Double, startS3Double } from './s3-double.ts'

let s3: S3Double
let passedMs = 0
const now = () => Date.now() + passedMs
const DAY_MS = 86_400_000
const SOME = new Uint8Array([1, 2, 3])
const options = () => ({
  endpoint: s3.endpoint,
  region: 'eu-central-1',
  forcePathStyle: true,
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
})
const open = (prefix = 'glimpse/') => openS3Store({ bucket: s3.bucket, prefix }, options(), now)

beforeEach(async () => {
  s3 = await startS3Double()
  passedMs = 0
})
afterEach(() => s3.close())

keepsItsPromises(open, (ms) => {
  passedMs += ms
})

test('two prefixes of one bucket know nothing of each other', async () => {
  const [one, other] = [await open('a/'), await open('b/')]
  await one.create('jobs/x', SOME, DAY_MS)
  expect(await other.read('jobs/x')).toBeUndefined()
  expect(await other.list('jobs/')).toEqual([])
  expect([...s3.objects.keys()]).toEqual(['a/jobs/x'])
})

test('what S3 answers with SlowDown is done at another try', async () => {
  const store = await open()
  s3.fault(/^PUT/, 503, 2)
  s3.fault(/^GET/, 500, 1)
  expect(await store.create('jobs/x', SOME, DAY_MS)).toBeDefined()
  expect((await store.read('jobs/x'))?.bytes).toEqual(SOME)
})

test('one of two who write at once is asked to try again, and does', async () => {
  const store = await open()
  s3.fault(/^PUT/, 409, 1)
  expect(await store.create('jobs/x', SOME, DAY_MS)).toBeDefined()
})

test('a failure that stays is one that may pass later', async () => {
  const store = await open()
  s3.fault(/./, 500, 100)
  await expect(store.read('jobs/x')).rejects.toMatchObject({ kind: 'upstream', code: 'state_failed' })
})

test('no such bucket is the operator’s to mend', async () => {
  const missing = openS3Store({ bucket: 'other', prefix: '' }, options())
  await expect(missing).rejects.toMatchObject({ kind: 'setup', code: 'no_state' })
})

describe('the double', () => behavesLikeS3(options, 'state', true))
