// Settings -> where collections are, and how LanceDB reaches a stand-in for S3.

import { expect, test } from 'vitest'
import { bucketOptions, searchLocation } from '../../src/app/search.ts'

test('collections are below the state unless a setting says otherwise', () => {
  expect(searchLocation({ search: '', state: '/var/lib/glimpse' })).toBe('/var/lib/glimpse/search')
  expect(searchLocation({ search: '', state: 's3://bucket/state/' })).toBe('s3://bucket/state/search')
  expect(searchLocation({ search: 's3://bucket/pictures', state: '/x' })).toBe('s3://bucket/pictures')
})

test('the address of a stand-in for S3, as the AWS SDK reads it', () => {
  expect(bucketOptions({})).toBeUndefined()
  expect(bucketOptions({ AWS_ENDPOINT_URL: 'https://minio.example' })).toEqual({
    aws_endpoint: 'https://minio.example',
    allow_http: 'false',
  })
  const both = { AWS_ENDPOINT_URL: 'https://minio.example', AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9000' }
  expect(bucketOptions(both)).toEqual({ aws_endpoint: 'http://127.0.0.1:9000', allow_http: 'true' })
})
