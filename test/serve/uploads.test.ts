// A picture too large for a request: a URL for it, a PUT of the picture, a request that names it, and nothing left.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MAX_PICTURE_BYTES } from '../../src/image/format.ts'
import type { Problem } from '../../src/serve/problem.ts'
import { createApp } from '../../src/serve/routes.ts'
import { openUploads } from '../../src/serve/s3-uploads.ts'
import type { PresignedUpload } from '../../src/serve/uploads.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { credentials } from '../transfer/model.ts'
import { CAPTION, type Double, doubleEngine, PNG } from './double.ts'

const MINUTE_MS = 60_000
const UNKNOWN = '0'.repeat(40)
let s3: S3Double
let engine: Double
let passedMs = 0
const now = () => Date.now() + passedMs
beforeEach(async () => {
  s3 = await startS3Double('pictures')
  s3.now = now
  engine = doubleEngine()
  passedMs = 0
})
afterEach(() => s3.close())

function serve(place = 's3://pictures/uploads') {
  const uploads = place === '' ? undefined : openUploads(place, { ...credentials(s3), retryMs: 1 }, now)
  const app = createApp(engine, { report: () => {}, uploads })
  const post = (path: string, body: unknown) =>
    app.fetch(
      new Request(`http://localhost${path}`, {
        method: 'POST',
        body: body instanceof FormData ? body : JSON.stringify(body),
        ...(body instanceof FormData ? {} : { headers: { 'content-type': 'application/json' } }),
      }),
    )
  return {
    post,
    offer: async (size = PNG.length) =>
      (await (await post('/v1/uploads', { size_bytes: size })).json()) as PresignedUpload,
  }
}
const send = (offer: PresignedUpload, bytes: Uint8Array = PNG) =>
  fetch(offer.url, { method: offer.method, body: bytes as BodyInit })
async function problem(response: Response): Promise<Problem['error'] & { status: number }> {
  return { status: response.status, ...((await response.json()) as Problem).error }
}

test('a picture sent to its URL is captioned by its id, once', async () => {
  const { post, offer } = serve()
  const given = await offer()
  expect(given).toMatchObject({ method: 'PUT', headers: { 'content-length': String(PNG.length) } })
  expect(Date.parse(given.expires_at) - now()).toBeGreaterThan(14 * MINUTE_MS)
  expect((await send(given)).status).toBe(200)
  expect([...s3.objects.keys()]).toEqual([`uploads/${given.upload}`])

  const reply = await post('/v1/caption', { upload: given.upload })
  expect(await reply.json()).toMatchObject({ text: CAPTION })
  expect(Buffer.from(engine.asks[0]!.image!)).toEqual(Buffer.from(PNG))
  expect(engine.asks[0]).not.toHaveProperty('upload')
  expect(s3.objects.size).toBe(0)
  expect(await problem(await post('/v1/caption', { upload: given.upload }))).toMatchObject({
    status: 404,
    code: 'upload_missing',
    message: expect.stringContaining('used already'),
  })
})

test('an upload can be named in JSON, in a form, and for a stream', async () => {
  const { post, offer } = serve()
  const question = 'What is it?'
  for (const ask of [
    (upload: string) => post('/v1/answer', { upload, question }),
    (upload: string) => {
      const form = new FormData()
      form.append('upload', upload)
      form.append('question', question)
      return post('/v1/answer', form)
    },
    (upload: string) => post('/v1/answer', { upload, question, stream: true }),
  ]) {
    const given = await offer()
    await send(given)
    const response = await ask(given.upload)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('answer 1 to What is it?')
    expect(s3.objects.size).toBe(0)
  }
})

test('a request that fails keeps the upload for another try', async () => {
  const { post, offer } = serve()
  const given = await offer()
  await send(given)
  engine.fail(new Error('a bug'))
  expect((await post('/v1/caption', { upload: given.upload })).status).toBe(500)
  engine.fail(undefined)
  expect((await post('/v1/caption', { upload: given.upload })).status).toBe(200)
})

describe('refuses', () => {
  test.each(['x', '', '../../etc/passwd', `${UNKNOWN}0`, UNKNOWN.replace('0', 'G'), 7])(
    'the id %j, which was never made, and no key is made from it',
    async (upload) => {
      const { post } = serve()
      const { status, code } = await problem(await post('/v1/caption', { upload }))
      expect([status, code]).toEqual([400, typeof upload === 'string' ? 'bad_upload' : 'bad_field'])
      expect(s3.asked).toEqual([])
    },
  )

  test('an id of the future', async () => {
    const { post } = serve()
    expect(await problem(await post('/v1/caption', { upload: 'f'.repeat(40) }))).toMatchObject({
      code: 'bad_upload',
    })
    expect(s3.asked).toEqual([])
  })

  test('an upload that was not sent yet', async () => {
    const { post, offer } = serve()
    expect(await problem(await post('/v1/caption', { upload: (await offer()).upload }))).toMatchObject({
      status: 404,
      code: 'upload_missing',
      message: expect.stringContaining('not sent yet'),
    })
  })

  test('an upload that is too old, and so does its URL', async () => {
    const { post, offer } = serve()
    const given = await offer()
    await send(given)
    passedMs = 21 * MINUTE_MS
    expect(await problem(await post('/v1/caption', { upload: given.upload }))).toMatchObject({
      status: 410,
      code: 'upload_expired',
    })
    expect((await send(given)).status).toBe(403)
  })

  test('more bytes at the URL than were announced, and another key', async () => {
    const { offer } = serve()
    const given = await offer()
    expect((await send(given, new Uint8Array(PNG.length + 1))).status).toBe(403)
    const other = { ...given, url: given.url.replace(given.upload, UNKNOWN) }
    expect((await send(other)).status).toBe(403)
    expect(s3.objects.size).toBe(0)
  })

  test('to announce more bytes than a picture may have', async () => {
    const { post } = serve()
    const response = await post('/v1/uploads', { size_bytes: MAX_PICTURE_BYTES + 1 })
    expect(await problem(response)).toMatchObject({ status: 413, code: 'picture_too_large' })
  })

  test('to read an object that grew larger in the bucket', async () => {
    const { post, offer } = serve()
    const { upload } = await offer()
    s3.put(`uploads/${upload}`, new Uint8Array(MAX_PICTURE_BYTES + 1))
    // At this rate all of it would take hours.
    s3.bytesPerSecond = 1_000
    expect(await problem(await post('/v1/caption', { upload }))).toMatchObject({ code: 'picture_too_large' })
  })

  test.each([{}, { size_bytes: 0 }, { size_bytes: '7' }, { size_bytes: 7, key: 'mine' }, 'x'.repeat(3_000)])(
    'to make a URL for %j',
    async (body) => {
      const { post } = serve()
      expect(await problem(await post('/v1/uploads', body))).toMatchObject({ status: 400, code: 'bad_json' })
    },
  )

  test('a picture and an upload in one request', async () => {
    const { post, offer } = serve()
    const body = { upload: (await offer()).upload, image: Buffer.from(PNG).toString('base64') }
    expect(await problem(await post('/v1/caption', body))).toMatchObject({ code: 'bad_field' })
  })

  test('uploads without a bucket, and says how to set one', async () => {
    const { post } = serve('')
    for (const response of [
      await post('/v1/uploads', { size_bytes: 7 }),
      await post('/v1/caption', { upload: UNKNOWN }),
    ]) {
      expect(await problem(response)).toMatchObject({
        status: 404,
        code: 'no_uploads',
        message: expect.stringContaining('GLIMPSE_UPLOADS=s3://bucket/prefix'),
      })
    }
  })
})

test.each([
  [403, 500, 'bucket_refused'],
  [503, 502, 'uploads_failed'],
])('a bucket that answers %i', async (from, status, code) => {
  const { post, offer } = serve()
  const given = await offer()
  await send(given)
  s3.fault(/./, from, 6)
  expect(await problem(await post('/v1/caption', { upload: given.upload }))).toMatchObject({ status, code })
})

test('a missing bucket is an error that names the setting', async () => {
  const { post } = serve('s3://elsewhere/uploads')
  const upload = Math.floor(now() / 1000)
    .toString(16)
    .padEnd(40, '0')
  expect(await problem(await post('/v1/caption', { upload }))).toMatchObject({
    status: 500,
    code: 'no_bucket',
    message: expect.stringContaining('GLIMPSE_UPLOADS'),
  })
})

test('a picture that breaks off or is damaged once is read again', async () => {
  const { post, offer } = serve()
  for (const fault of [{ kind: 'reset', after: 10 }, { kind: 'flip' }] as const) {
    const given = await offer()
    await send(given)
    s3.plan(/^GET/, fault)
    expect((await post('/v1/caption', { upload: given.upload })).status).toBe(200)
  }
})

test('a request that breaks off is not reported', async () => {
  const reported: unknown[] = []
  const uploads = openUploads('s3://pictures/uploads', credentials(s3), now)
  const app = createApp(engine, { report: (error) => reported.push(error), uploads })
  const body = new ReadableStream({ start: (stream) => stream.error(new Error('ECONNRESET')) })
  const init: RequestInit & { duplex: 'half' } = { method: 'POST', body, duplex: 'half' }
  expect((await app.fetch(new Request('http://localhost/v1/uploads', init))).status).toBe(499)
  expect(reported).toEqual([])
})

test('a picture that always breaks off or is damaged is not answered about', async () => {
  const { post, offer } = serve()
  for (const fault of [{ kind: 'reset', after: 10 }, { kind: 'flip' }] as const) {
    const given = await offer()
    await send(given)
    s3.misbehave = (asked) => (asked.startsWith('GET') ? fault : undefined)
    expect(await problem(await post('/v1/caption', { upload: given.upload }))).toMatchObject({
      code: 'uploads_failed',
    })
  }
  expect(engine.asks).toEqual([])
})

test('an upload that cannot be removed is answered about', async () => {
  const { post, offer } = serve()
  const given = await offer()
  await send(given)
  s3.fault(/^DELETE/, 500, 6)
  expect((await post('/v1/caption', { upload: given.upload })).status).toBe(200)
})
