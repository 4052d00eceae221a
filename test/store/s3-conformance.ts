// The behaviour of S3 that Glimpse relies on, tested with the unmodified SDK against the double and against moto, so that
// each checks the other.

import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { expect, test } from 'vitest'

const MIB = 1024 * 1024
const PART = 5 * MIB

/** `strict`: the server checks checksums and signatures, which moto does not. */
export function conformsToS3(options: () => S3ClientConfig, Bucket: string, strict: boolean): void {
  const client = () => new S3Client({ ...options(), maxAttempts: 1 })
  const at = (Key = `conformance/${randomUUID()}`) => ({ Bucket, Key })
  const refusal = async (work: Promise<unknown>): Promise<number | undefined> =>
    await work.then(
      () => undefined,
      (error: { $metadata?: { httpStatusCode?: number }; name: string }) => error.$metadata?.httpStatusCode,
    )
  const put = async (s3: S3Client, place: ReturnType<typeof at>, Body: string | Uint8Array) =>
    (await s3.send(new PutObjectCommand({ ...place, Body }))).ETag!
  const bytesOf = async (s3: S3Client, place: ReturnType<typeof at>, more = {}) => {
    const got = await s3.send(new GetObjectCommand({ ...place, ...more }))
    return { ...got, text: await got.Body!.transformToString() }
  }

  test('what was put is got, with its size, tag and metadata', async () => {
    const [s3, place] = [client(), at()]
    const { ETag } = await s3.send(
      new PutObjectCommand({ ...place, Body: 'ten bytes.', Metadata: { a: 'b' } }),
    )
    expect(ETag).toBe(`"${createHash('md5').update('ten bytes.').digest('hex')}"`)
    expect(await bytesOf(s3, place)).toMatchObject({ text: 'ten bytes.', ETag, Metadata: { a: 'b' } })
    const head = await s3.send(new HeadObjectCommand(place))
    expect(head).toMatchObject({ ContentLength: 10, ETag, Metadata: { a: 'b' } })
    expect(Math.abs(head.LastModified!.getTime() - Date.now())).toBeLessThan(60_000)
    await s3.send(new DeleteObjectCommand(place))
    expect(await refusal(s3.send(new GetObjectCommand(place)))).toBe(404)
    expect(await refusal(s3.send(new HeadObjectCommand(place)))).toBe(404)
  })

  test('a body in chunks, and an empty one', async () => {
    const [s3, place] = [client(), at()]
    const whole = new Uint8Array(70_000).map((_, i) => i % 251)
    const Body = Readable.from([whole.subarray(0, 30_000), whole.subarray(30_000)])
    await s3.send(new PutObjectCommand({ ...place, Body, ContentLength: whole.length }))
    const got = await s3.send(new GetObjectCommand(place))
    expect(Buffer.from(await got.Body!.transformToByteArray()).equals(whole)).toBe(true)
    await put(s3, place, '')
    expect((await bytesOf(s3, place)).text).toBe('')
  })

  test.each([
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=8-99', '89', 'bytes 8-9/10'],
    ['bytes=-99', '0123456789', 'bytes 0-9/10'],
  ])('the range %s is %s', async (Range, text, ContentRange) => {
    const [s3, place] = [client(), at()]
    await put(s3, place, '0123456789')
    const got = await bytesOf(s3, place, { Range })
    expect(got).toMatchObject({ text, ContentRange, ContentLength: text.length })
    expect(got.$metadata.httpStatusCode).toBe(206)
  })

  test('a range past the end is refused with 416', async () => {
    const [s3, place] = [client(), at()]
    await put(s3, place, '0123456789')
    expect(await refusal(s3.send(new GetObjectCommand({ ...place, Range: 'bytes=10-' })))).toBe(416)
  })

  test('reads on a condition: If-Match 412, If-None-Match 304', async () => {
    const [s3, place] = [client(), at()]
    const before = await put(s3, place, 'one')
    expect((await bytesOf(s3, place, { IfMatch: before, Range: 'bytes=0-1' })).text).toBe('on')
    expect(await refusal(s3.send(new GetObjectCommand({ ...place, IfNoneMatch: before })))).toBe(304)
    await put(s3, place, 'two')
    const stale = { ...place, IfMatch: before }
    expect(await refusal(s3.send(new GetObjectCommand(stale)))).toBe(412)
    expect(await refusal(s3.send(new HeadObjectCommand(stale)))).toBe(412)
    expect((await bytesOf(s3, place, { IfNoneMatch: before })).text).toBe('two')
  })

  test('writes on a condition: If-None-Match: * and If-Match, 412', async () => {
    const [s3, place] = [client(), at()]
    const create = new PutObjectCommand({ ...place, Body: 'one', IfNoneMatch: '*' })
    const { ETag: first } = await s3.send(create)
    expect(await refusal(s3.send(create))).toBe(412)
    await s3.send(new PutObjectCommand({ ...place, Body: 'two', IfMatch: first }))
    expect(await refusal(s3.send(new PutObjectCommand({ ...place, Body: '3', IfMatch: first })))).toBe(412)
    expect((await bytesOf(s3, place)).text).toBe('two')
    expect(await refusal(s3.send(new PutObjectCommand({ ...at(), Body: '3', IfMatch: first })))).toBe(404)
  })

  test.skipIf(!strict)('of ten who create one object at once one succeeds', async () => {
    const [s3, place] = [client(), at()]
    const statuses = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        refusal(s3.send(new PutObjectCommand({ ...place, Body: `${i}`, IfNoneMatch: '*' }))),
      ),
    )
    expect(statuses.filter((status) => status === undefined)).toHaveLength(1)
    expect(statuses.filter((status) => status === 412 || status === 409)).toHaveLength(9)
  })

  const begin = async (s3: S3Client, place: ReturnType<typeof at>) =>
    (await s3.send(new CreateMultipartUploadCommand({ ...place, Metadata: { a: 'b' } }))).UploadId!
  const sendParts = async (s3: S3Client, place: ReturnType<typeof at>, UploadId: string, sizes: number[]) =>
    await Promise.all(
      sizes.map(async (size, i) => {
        const part = { ...place, UploadId, PartNumber: i + 1, Body: new Uint8Array(size).fill(i) }
        return { PartNumber: i + 1, ETag: (await s3.send(new UploadPartCommand(part))).ETag }
      }),
    )

  test('an upload of three parts is one object, its tag ends with -3', async () => {
    const [s3, place] = [client(), at()]
    const UploadId = await begin(s3, place)
    const Parts = await sendParts(s3, place, UploadId, [PART, PART, 7])
    expect(await refusal(s3.send(new HeadObjectCommand(place)))).toBe(404)
    const complete = new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts } })
    expect((await s3.send(complete)).ETag).toMatch(/^"[0-9a-f]{32}-3"$/)
    const head = await s3.send(new HeadObjectCommand(place))
    expect(head).toMatchObject({ ContentLength: 2 * PART + 7, Metadata: { a: 'b' } })
    const { Body } = await s3.send(new GetObjectCommand({ ...place, Range: `bytes=${PART - 1}-${PART}` }))
    expect([...(await Body!.transformToByteArray())]).toEqual([0, 1])
  })

  test('a part that is not the last and too small, and one that never came, are refused', async () => {
    const [s3, place] = [client(), at()]
    const UploadId = await begin(s3, place)
    const Parts = await sendParts(s3, place, UploadId, [100, 7])
    const small = { ...place, UploadId, MultipartUpload: { Parts } }
    await expect(s3.send(new CompleteMultipartUploadCommand(small))).rejects.toMatchObject({
      name: 'EntityTooSmall',
    })
    const wrong = { MultipartUpload: { Parts: [{ PartNumber: 9, ETag: '"00"' }] } }
    await expect(s3.send(new CompleteMultipartUploadCommand({ ...small, ...wrong }))).rejects.toMatchObject({
      name: 'InvalidPart',
    })
    await s3.send(new AbortMultipartUploadCommand({ ...place, UploadId }))
    expect(await refusal(s3.send(new HeadObjectCommand(place)))).toBe(404)
  })

  test.skipIf(!strict)('a body that is not what its checksum says is refused with 400', async () => {
    const [s3, place] = [client(), at()]
    const wrong = { ...place, Body: 'something', ChecksumSHA256: Buffer.alloc(32).toString('base64') }
    expect(await refusal(s3.send(new PutObjectCommand(wrong)))).toBe(400)
    const crc = { ...place, Body: 'something', ChecksumCRC32: 'AAAAAA==' }
    expect(await refusal(s3.send(new PutObjectCommand(crc)))).toBe(400)
    expect(await refusal(s3.send(new HeadObjectCommand(place)))).toBe(404)
  })

  test('a whole object comes with the checksum it was sent with', async () => {
    const [s3, place] = [client(), at()]
    await s3.send(new PutObjectCommand({ ...place, Body: 'something', ChecksumAlgorithm: 'CRC32' }))
    const got = await s3.send(new GetObjectCommand({ ...place, ChecksumMode: 'ENABLED' }))
    expect(got.ChecksumCRC32).toBe('Cdox+w==')
    expect(await got.Body!.transformToString()).toBe('something')
  })

  test('lists what begins so, page by page', async () => {
    const s3 = client()
    const folder = `listed/${randomUUID()}`
    for (let i = 0; i < 5; i++) await put(s3, at(`${folder}/${i}`), 'x')
    const keys: string[] = []
    let ContinuationToken: string | undefined
    do {
      const asked = { Bucket, Prefix: `${folder}/`, ContinuationToken, MaxKeys: 2 }
      const page = await s3.send(new ListObjectsV2Command(asked))
      keys.push(...(page.Contents ?? []).map(({ Key }) => Key!))
      ContinuationToken = page.NextContinuationToken
    } while (ContinuationToken)
    expect(keys).toEqual([0, 1, 2, 3, 4].map((i) => `${folder}/${i}`))
  })

  test('a presigned address takes a body without a key', async () => {
    const [s3, place] = [new S3Client({ ...options(), requestChecksumCalculation: 'WHEN_REQUIRED' }), at()]
    const url = await getSignedUrl(s3, new PutObjectCommand({ ...place, ContentLength: 4 }), {
      expiresIn: 60,
    })
    expect((await fetch(url, { method: 'PUT', body: 'four' })).status).toBe(200)
    expect((await bytesOf(s3, place)).text).toBe('four')
    if (!strict) return
    const longer = await fetch(url, { method: 'PUT', body: 'longer' })
    expect([longer.status, await longer.text()]).toEqual([
      403,
      expect.stringContaining('SignatureDoesNotMatch'),
    ])
    const other = url.replace(place.Key.split('/')[1]!, 'other')
    expect((await fetch(other, { method: 'PUT', body: 'four' })).status).toBe(403)
  })
}
