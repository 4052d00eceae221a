// The store in a bucket, with the unmodified SDK: what every store promises, and S3 on a bad day.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openS3Store } from '../../src/store/s3.ts'
import { conformsToStore } from './conformance.ts'
import { conformsToS3 } from './s3-conformance.ts'
import { type Fault, type S3Double, startS3Double } from './s3-double.ts'

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
const open = (prefix = 'glimpse', more = {}) =>
  openS3Store(`s3://${s3.bucket}/${prefix}`, { ...options(), retryMs: 1, ...more }, now)

beforeEach(async () => {
  s3 = await startS3Double()
  passedMs = 0
})
afterEach(() => s3.close())

conformsToStore(
  open,
  (ms) => {
    passedMs += ms
  },
  () => s3.plan(/^PUT/, { kind: 'drop' }),
)

describe.each<[string, Fault]>([
  ['closes', { kind: 'drop' }],
  ['is silent', { kind: 'silence' }],
  ['brings 500', { kind: 'status', status: 500, applied: true }],
  ['brings 503', { kind: 'status', status: 503, applied: true }],
  ['brings 409', { kind: 'status', status: 409, code: 'ConditionalRequestConflict', applied: true }],
])('where a connection %s', (_, fault) => {
  const patient = () => open('glimpse', fault.kind === 'silence' ? { stallMs: 500 } : {})

  test('what was done wins, also by the second of two tries', async () => {
    const store = await patient()
    s3.plan(/^PUT/, fault, 2)
    const version = await store.create('jobs/x', new Uint8Array([7]), DAY_MS)
    expect((await store.read('jobs/x'))?.version).toBe(version)
    s3.plan(/^PUT/, fault)
    const next = await store.replace('jobs/x', SOME, DAY_MS, version)
    expect(await store.read('jobs/x')).toMatchObject({ bytes: SOME, version: next })
  })

  test('what was not done does not win', async () => {
    const [store, other] = [await patient(), await open()]
    const version = await store.create('jobs/x', SOME, DAY_MS)
    await other.replace('jobs/x', new Uint8Array([7]), DAY_MS, version)
    s3.plan(/^PUT/, fault)
    expect(await store.replace('jobs/x', SOME, DAY_MS, version)).toBeUndefined()
    s3.plan(/^PUT/, fault)
    expect(await store.create('jobs/x', SOME, DAY_MS)).toBeUndefined()
    expect((await store.read('jobs/x'))?.bytes).toEqual(new Uint8Array([7]))
  })
})

test('whether a write was done is not guessed: where S3 does not say, it fails', async () => {
  const store = await open()
  s3.plan(/^PUT/, { kind: 'drop' })
  s3.fault(/^HEAD/, 503, 6)
  await expect(store.create('jobs/x', SOME, DAY_MS)).rejects.toMatchObject({ code: 'state_failed' })
})

test('a value that was written without a writer is read and replaced as before', async () => {
  const store = await open()
  s3.put('glimpse/jobs/x', SOME)
  s3.objects.get('glimpse/jobs/x')!.metadata = { 'x-amz-meta-ends-at': String(now() + DAY_MS) }
  const found = await store.read('jobs/x')
  expect(found?.bytes).toEqual(SOME)
  expect(await store.create('jobs/x', SOME, DAY_MS)).toBeUndefined()
  expect(await store.replace('jobs/x', new Uint8Array([7]), DAY_MS, found!.version)).toBeDefined()
})

test('two prefixes of one bucket know nothing of each other', async () => {
  const [one, other] = [await open('a'), await open('b')]
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
  const missing = openS3Store('s3://other', options())
  await expect(missing).rejects.toMatchObject({ kind: 'setup', code: 'no_bucket' })
})

describe('the double', () => conformsToS3(options, 'state', true))
