// Collections in a bucket of moto, a third-party emulator of S3.

import { randomUUID } from 'node:crypto'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { openSearchStore } from '../../src/search/open.ts'
import { type Moto, startMoto } from '../moto.ts'
import { testSearchStore } from './conformance.ts'

let moto: Moto
let location: string
beforeAll(async () => {
  moto = await startMoto((options) => {
    const client = new S3Client({ ...options, forcePathStyle: true })
    return client.send(new CreateBucketCommand({ Bucket: 'search' }))
  })
})
afterAll(() => moto.stop())
beforeEach(() => {
  location = `s3://search/${randomUUID()}`
})

testSearchStore(() => {
  const { endpoint, region, credentials } = moto.options
  return openSearchStore(location, {
    aws_endpoint: endpoint,
    aws_region: region,
    aws_access_key_id: credentials.accessKeyId,
    aws_secret_access_key: credentials.secretAccessKey,
    allow_http: 'true',
  })
})
