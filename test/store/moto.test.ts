// The same promises before moto, an S3 that we did not write: pip install 'moto[s3,server]' puts moto_server on the path,
// without which this is skipped. Its threads look and write in two steps: who wins a race is not asked of it.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach, describe } from 'vitest'
import { openS3Store } from '../../src/store/s3.ts'
import { keepsItsPromises } from './conformance.ts'
import { behavesLikeS3 } from './s3-conformance.ts'

const isThere = (() => {
  try {
    execFileSync('moto_server', ['--help'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

describe.skipIf(!isThere)('before moto', () => {
  let moto: ChildProcess
  let options: ConstructorParameters<typeof S3Client>[0] & object
  let passedMs = 0
  let number = 0

  beforeAll(async () => {
    const port = await freePort()
    moto = spawn('moto_server', ['-p', String(port)], { stdio: 'ignore' })
    options = {
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    }
    const client = new S3Client(options)
    for (let tries = 0; ; tries++) {
      try {
        await client.send(new CreateBucketCommand({ Bucket: 'state' }))
        return
      } catch (error) {
        if (tries === 100) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  })
  afterAll(() => void moto.kill())
  beforeEach(() => {
    number++
    passedMs = 0
  })

  keepsItsPromises(
    () => openS3Store({ bucket: 'state', prefix: `run-${number}/` }, options, () => Date.now() + passedMs),
    (ms) => {
      passedMs += ms
    },
    false,
  )

  behavesLikeS3(() => options, 'state', false)
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
