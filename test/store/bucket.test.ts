// What each answer of S3 to each call means: a result, another try, or an error that says who has to act.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { S3Error } from '../../src/store/answers.ts'
import { type Bucket, openBucket } from '../../src/store/bucket.ts'
import { type Fault, type S3Double, startS3Double } from './s3-double.ts'

const SETTING = 'GLIMPSE_STATE'
const BYTES = Buffer.from('0123456789'.repeat(1_000))
let s3: S3Double
beforeEach(async () => {
  s3 = await startS3Double()
  s3.put('p/here', BYTES)
})
afterEach(() => s3.close())

const open = (place = 's3://state/p', stallMs?: number) =>
  openBucket(
    place,
    { setting: SETTING, code: 'state_failed' },
    {
      endpoint: s3.endpoint,
      region: 'eu-central-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      retryMs: 1,
      stallMs,
    },
  )
const UPLOAD = { metadata: {}, partBytes: 5 * 1024 * 1024, count: 2, onBytes: () => {} }
const outcome = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error)

/** Each call, and what it makes of a key with nothing there. */
const CALLS: [string, (bucket: Bucket, key: string) => Promise<unknown>, unknown][] = [
  ['read', (bucket, key) => bucket.read(key), undefined],
  ['head', (bucket, key) => bucket.head(key), undefined],
  ['create', (bucket, key) => bucket.put(key, 'x', { isNew: true }), expect.any(String)],
  ['replace', (bucket, key) => bucket.put(key, 'x', { etag: '"0"' }), undefined],
  ['put', (bucket, key) => bucket.put(key, 'x'), expect.any(String)],
  ['remove', (bucket, key) => bucket.remove(key), undefined],
  ['list', (bucket, key) => bucket.list(key), []],
  ['upload', (bucket, key) => bucket.upload(key, import.meta.filename, UPLOAD), undefined],
]

describe.each(CALLS)('%s', (name, call, ofNothing) => {
  test('of a key with nothing there', async () => {
    expect(await call(open(), 'nothing')).toEqual(ofNothing)
  })

  test('of a bucket that is not there names the setting, at once', async () => {
    await expect(call(open('s3://other/p'), 'here')).rejects.toMatchObject({
      kind: 'setup',
      code: 'no_bucket',
      message: expect.stringMatching(/^Expected to use s3:\/\/other\/p but .*name in GLIMPSE_STATE/),
    })
    expect(s3.asked.length).toBeLessThanOrEqual(2)
  })

  test.each<[number, string | undefined, Record<string, string>, string]>([
    [301, 'PermanentRedirect', { 'x-amz-bucket-region': 'eu-west-3' }, 'wrong_region'],
    [400, 'AuthorizationHeaderMalformed', {}, name === 'head' ? 'bucket_refused' : 'wrong_region'],
    [400, 'ExpiredToken', {}, 'bucket_refused'],
    [403, 'AccessDenied', {}, 'bucket_refused'],
    [403, 'SignatureDoesNotMatch', {}, 'bucket_refused'],
    [501, 'NotImplemented', {}, 'bucket_refused'],
    [418, 'Teapot', {}, 'bucket_refused'],
  ])('answered %i %s is the operator’s to mend, at once', async (status, code, headers, ours) => {
    s3.misbehave = () => ({ kind: 'status', status, code, headers })
    const error = await outcome(call(open(), 'here'))
    expect(error).toMatchObject({ kind: 'setup', code: ours, message: expect.stringContaining(SETTING) })
    if (status === 301) expect(error).toMatchObject({ message: expect.stringContaining('to eu-west-3') })
    expect(s3.asked).toHaveLength(1)
  })

  test.each<Fault>([
    ...[408, 409, 429, 500, 502, 503, 504, 307].map((status) => ({ kind: 'status' as const, status })),
    { kind: 'status', status: 400, code: 'RequestTimeout' },
    { kind: 'drop' },
  ])('done at another try: $kind $status $code', async (fault) => {
    // An answer to HEAD has no body, and so no code.
    if (name === 'head' && 'code' in fault) return
    const expected = await call(open(), 'nothing')
    s3.objects.delete('p/nothing')
    s3.plan(/./, fault, 2)
    expect(await call(open(), 'nothing')).toEqual(
      typeof expected === 'string' ? expect.any(String) : expected,
    )
  })

  test.each<Fault>([{ kind: 'status', status: 503 }, { kind: 'drop' }])(
    'that fails each time with $kind ends in one error of ours',
    async (fault) => {
      s3.misbehave = () => fault
      const error = await outcome(call(open(), 'here'))
      expect(error).toMatchObject({ kind: 'upstream', code: 'state_failed' })
      expect((error as Error).cause).toBeInstanceOf(Error)
      expect(s3.asked).toHaveLength(6)
    },
  )
})

test('a 404 that S3 did not send is no missing object', async () => {
  s3.misbehave = () => ({ kind: 'status', status: 404, code: 'SomethingElse' })
  await expect(open().read('here')).rejects.toMatchObject({ code: 'bucket_refused' })
})

test('a write without a condition that S3 refuses is not passed over', async () => {
  s3.fault(/^PUT/, 412)
  await expect(open().put('here', 'x')).rejects.toMatchObject({ kind: 'upstream', code: 'state_failed' })
})

test('whether the object or the bucket is missing, HEAD finds out where it may ask', async () => {
  s3.fault(/^HEAD $/, 403)
  expect(await open().head('nothing')).toBeUndefined()
})

describe('a body', () => {
  const CUTS: Fault[] = [
    { kind: 'reset', after: 5_000 },
    { kind: 'reset', after: 0 },
    { kind: 'flip' },
    { kind: 'short', after: 5_000 },
    { kind: 'stall', after: 5_000 },
  ]
  test.each(CUTS)('that breaks off is read again: $kind after $after', async (fault) => {
    s3.plan(/^GET/, fault, 2)
    const bucket = open(undefined, fault.kind === 'stall' ? 300 : undefined)
    expect(Buffer.from((await bucket.read('here'))!.bytes)).toEqual(BYTES)
  })

  test('that breaks off each time is one error of ours, with its cause', async () => {
    s3.misbehave = () => ({ kind: 'reset', after: 5_000 })
    const error = await outcome(open().read('here'))
    expect(error).toMatchObject({ kind: 'upstream', code: 'state_failed' })
    expect((error as Error).cause).toBeInstanceOf(Error)
    expect(s3.asked).toHaveLength(6)
  })

  test('of a listing or a refusal that breaks off is asked for again', async () => {
    s3.plan(/^GET/, { kind: 'reset', after: 20 }, 2)
    expect(await open().list('')).toEqual(['here'])
  })

  test('of a page of a listing that breaks off is asked for again, and not the pages before it', async () => {
    const keys = Array.from({ length: 7 }, (_, i) => `k${i}`)
    for (const key of keys) s3.put(`q/${key}`, 'x')
    s3.misbehave = () => (s3.asked.length === 2 ? { kind: 'reset', after: 20 } : undefined)
    expect(await open('s3://state/q').list('')).toEqual(keys)
    expect(s3.asked).toHaveLength(4) // three pages, the second one twice
  })

  test('larger than is wanted is not read', async () => {
    s3.bytesPerSecond = 100
    expect(await open().read('here', 5_000)).toMatchObject({ sizeBytes: BYTES.length })
  })

  test('of a range that breaks off is requested behind the bytes that arrived', async () => {
    let hasArrived = () => {}
    const once = new Promise<void>((resolve) => {
      hasArrived = resolve
    })
    s3.plan(/^GET/, { kind: 'reset', after: 50, once })
    const bytes = new Uint8Array(100)
    const { etag } = s3.objects.get('p/here')!
    await open().readRange('here', bytes, { from: 103, etag, onBytes: () => hasArrived() })
    expect(Buffer.from(bytes)).toEqual(BYTES.subarray(103, 203))
    expect(s3.asked).toEqual(['GET p/here 103-202', 'GET p/here 153-202'])
  })

  test.each<[string, number, string | undefined, string]>([
    ['nothing', 0, '"0"', 'missing'],
    ['here', 0, '"0"', 'changed'],
    ['here', BYTES.length, undefined, 'range'],
  ])('of %s from %i with the etag %s is refused: %s', async (key, from, etag, reason) => {
    const version = etag ?? s3.objects.get('p/here')!.etag
    const error = await outcome(open().readRange(key, new Uint8Array(10), { from, etag: version }))
    expect(error).toBeInstanceOf(S3Error)
    expect(error).toMatchObject({ reason })
  })
})

test('stopped, nothing is tried again', async () => {
  const stop = new AbortController()
  s3.misbehave = () => {
    stop.abort()
    return { kind: 'silence' }
  }
  await expect(open().read('here', undefined, stop.signal)).rejects.toMatchObject({ code: 'cancelled' })
  expect(s3.asked).toHaveLength(1)
})
