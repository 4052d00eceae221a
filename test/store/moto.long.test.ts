// The same promises before moto, an S3 that we did not write. Its threads look and write in two steps: who wins a race is not asked of it.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openUploads } from '../../src/serve/s3-uploads.ts'
import { openBucket } from '../../src/store/bucket.ts'
import { openS3Store } from '../../src/store/s3.ts'
import { fetchArtifact } from '../../src/transfer/fetch.ts'
import { pushArtifact } from '../../src/transfer/push.ts'
import { type Moto, startMoto } from '../moto.ts'
import { isSame } from '../transfer/fault-injection.ts'
import { makeModel, writeModel } from '../transfer/model.ts'
import { conformsToStore } from './conformance.ts'
import { conformsToS3 } from './s3-conformance.ts'

describe('before moto', () => {
  let moto: Moto
  let options: ConstructorParameters<typeof S3Client>[0] & object
  let passedMs = 0
  let number = 0
  let isLost = false

  beforeAll(async () => {
    const style = { forcePathStyle: true }
    moto = await startMoto((given) =>
      new S3Client({ ...given, ...style }).send(new CreateBucketCommand({ Bucket: 'state' })),
    )
    const { requestHandler } = new S3Client(moto.options).config
    const done = requestHandler.handle.bind(requestHandler)
    const handle: typeof done = async (request, given) => {
      const answer = await done(request, given)
      if (!isLost || request.method !== 'PUT' || answer.response.statusCode !== 200) return answer
      isLost = false
      throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    }
    options = { ...moto.options, ...style, requestHandler: Object.assign(requestHandler, { handle }) }
  })
  afterAll(() => moto?.stop())
  beforeEach(() => {
    number++
    passedMs = 0
  })

  conformsToStore(
    () => openS3Store(`s3://state/run-${number}`, options, () => Date.now() + passedMs),
    (ms) => {
      passedMs += ms
    },
    () => {
      isLost = true
    },
    false,
  )

  conformsToS3(() => options, 'state', false)

  test('a model is pushed in parts, and fetched as it was', async () => {
    const room = await mkdtemp(join(tmpdir(), 'glimpse-moto-'))
    const model = makeModel(1, { 'language.data': 200, 'vision.data': 2.5, 'vision.onnx': 0 })
    const folder = join(room, 'artifact')
    await writeModel(folder, model)
    const streams = { count: 3, partBytes: 5 * 1024 * 1024 }
    const place = 's3://state/models/v1'
    await pushArtifact(folder, place, { client: options, streams })
    expect((await pushArtifact(folder, place, { client: options, streams })).sentBytes).toBe(0)
    const fetched = await fetchArtifact(place, { cacheFolder: join(room, 'cache'), client: options })
    expect(await isSame(fetched, model)).toBe(true)
    await expect(
      fetchArtifact('s3://state/models/v2', { cacheFolder: room, client: options }),
    ).rejects.toMatchObject({ code: 'no_artifact' })
    await expect(
      fetchArtifact('s3://nowhere/v2', { cacheFolder: room, client: options }),
    ).rejects.toMatchObject({ code: 'no_bucket' })
    await rm(room, { recursive: true, force: true })
  })

  test('each call on a bucket that is not there says so', async () => {
    const bucket = openBucket('s3://nowhere', { setting: 'GLIMPSE_STATE', code: 'state_failed' }, options)
    for (const call of [
      () => bucket.check(),
      () => bucket.head('x'),
      () => bucket.read('x'),
      () => bucket.list(''),
      () => bucket.put('x', 'x', { isNew: true }),
      () => bucket.put('x', 'x', { etag: '"0"' }),
      () => bucket.remove('x'),
    ]) {
      await expect(call()).rejects.toMatchObject({ kind: 'setup', code: 'no_bucket' })
    }
  })

  test('a picture is uploaded to the address it was given, read and removed', async () => {
    const uploads = openUploads('s3://state/uploads', options)
    const { upload, url, method } = await uploads.createUpload(7)
    await expect(uploads.read(upload)).rejects.toMatchObject({ code: 'upload_missing' })
    expect((await fetch(url, { method, body: 'picture' })).status).toBe(200)
    expect(Buffer.from(await uploads.read(upload)).toString()).toBe('picture')
    await uploads.remove(upload)
    await expect(uploads.read(upload)).rejects.toMatchObject({ code: 'upload_missing' })
  })
})
