// The doctor's findings about the model, onnxruntime and the places that Glimpse writes to.

import { appendFile, cp, mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { readConfig } from '../../src/config.ts'
import { checkModel, checkProvider, checkRuntime } from '../../src/doctor/model.ts'
import { checkCache, checkState, checkUploads } from '../../src/doctor/storage.ts'
import { SetupError } from '../../src/errors.ts'
import type { Store } from '../../src/store/store.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { makeModel, upload } from '../transfer/model.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-doctor-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** A bucket whose endpoint and credentials are in the environment, where the SDK reads them. */
async function bucket(name: string): Promise<S3Double> {
  const s3 = await startS3Double(name)
  vi.stubEnv('AWS_ENDPOINT_URL_S3', s3.endpoint)
  vi.stubEnv('AWS_REGION', 'eu-west-1')
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'a')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'b')
  onTestFinished(() => {
    vi.unstubAllEnvs()
    s3.close()
  })
  return s3
}

const config = (env: Record<string, string>) => readConfig(env)

test("onnxruntime's library loads and runs a graph", async () => {
  const { status, found } = await checkRuntime()
  expect([status, found]).toEqual(['ok', expect.stringMatching(/^onnxruntime \d+\.\d+/)])
})

describe('the provider', () => {
  const missing = async () => {
    throw new Error('Failed to load shared library')
  }

  test('cpu always passes', async () => {
    expect((await checkProvider(config({}))).status).toBe('ok')
  })

  test('that is unavailable fails, or gives a warning if GLIMPSE_PROVIDER_MISSING allows the CPU', async () => {
    const wanted = { GLIMPSE_PROVIDER: 'cuda' }
    expect((await checkProvider(config(wanted), missing)).status).toBe('fail')
    const allowed = await checkProvider(config({ ...wanted, GLIMPSE_PROVIDER_MISSING: 'cpu' }), missing)
    expect([allowed.status, allowed.found]).toEqual(['warn', expect.stringContaining('cpu in place of cuda')])
  })

  test('that is available passes', async () => {
    const found = await checkProvider(config({ GLIMPSE_PROVIDER: 'webgpu' }), async () => {})
    expect(found).toEqual({ status: 'ok', found: 'webgpu, as set' })
  })

  test('is skipped with a remote engine', async () => {
    const remote = config({ GLIMPSE_PROVIDER: 'cuda', GLIMPSE_ENGINE: 'https://glimpse.example' })
    expect((await checkProvider(remote, missing)).status).toBe('skipped')
  })
})

describe('the model', () => {
  test('in the package passes', async () => {
    const { status, bytes } = await checkModel(config({}), false)
    expect(status).toBe('ok')
    // 5.5 million parameters of four bytes.
    expect(bytes! / 1e6).toBeCloseTo(22, 0)
  })

  test('as built passes; changed bytes at the same size are found by --deep only', async () => {
    const built = join(folder, 'built')
    await cp(await embeddedArtifact(join(folder, 'cache')), built, { recursive: true })
    const at = (deep: boolean) => checkModel(config({ GLIMPSE_MODEL: built }), deep)
    expect((await at(false)).status).toBe('ok')
    expect((await at(true)).found).toContain('checksums compared')
    const { open } = await import('node:fs/promises')
    const file = await open(join(built, 'vision.data'), 'r+')
    await file.write(Buffer.from([0xff, 0xfe]), 0, 2, 1_000)
    await file.close()
    expect((await at(false)).status).toBe('ok')
    expect([(await at(true)).status, (await at(true)).found]).toEqual([
      'fail',
      expect.stringContaining('vision.data'),
    ])
    await appendFile(join(built, 'vision.data'), 'x')
    expect((await at(false)).status).toBe('fail')
  })

  test('in a bucket is checked by its manifest, also after one broken connection', async () => {
    const s3 = await bucket('models')
    upload(s3, makeModel())
    const look = () => checkModel(config({ GLIMPSE_MODEL: 's3://models/model' }), false)
    s3.plan(/^GET/, { kind: 'reset', after: 50 })
    expect(await look()).toMatchObject({ status: 'ok', bytes: expect.any(Number) })
    s3.objects.clear()
    expect(await look()).toMatchObject({ status: 'fail', found: expect.stringContaining('glimpse push') })
  })

  test('in a missing bucket fails with the setting to change', async () => {
    await bucket('models')
    const { status, found } = await checkModel(config({ GLIMPSE_MODEL: 's3://other/model' }), false)
    expect([status, found]).toEqual(['fail', expect.stringContaining("bucket's name in GLIMPSE_MODEL")])
  })

  test('that is missing fails with what to do', async () => {
    const { status, found } = await checkModel(config({ GLIMPSE_MODEL: join(folder, 'none') }), false)
    expect([status, found]).toEqual(['fail', expect.stringContaining('npx glimpse build')])
  })
})

describe('the cache', () => {
  test('that is writable passes with its free space, and no file is left', async () => {
    const { status, found } = await checkCache(join(folder, 'a'), 1e6, false)
    expect([status, found]).toEqual(['ok', expect.stringContaining('MB free')])
    const { readdir } = await import('node:fs/promises')
    expect(await readdir(join(folder, 'a'))).toEqual([])
  })

  test('without room for prepacked weights, or that is not a folder, gives a warning', async () => {
    expect((await checkCache(join(folder, 'a'), 1e18, true)).status).toBe('warn')
    expect((await checkCache(join(import.meta.dirname, 'model.test.ts'), 1, false)).status).toBe('warn')
  })
})

describe('the state', () => {
  test('in a folder has conditional writes', async () => {
    expect((await checkState(join(folder, 'state'))).status).toBe('ok')
  })

  test('in a bucket has them too, and no object is left', async () => {
    const s3 = await startS3Double()
    const { openS3Store } = await import('../../src/store/s3.ts')
    const open = () =>
      openS3Store(`s3://${s3.bucket}`, {
        endpoint: s3.endpoint,
        region: 'eu-west-1',
        forcePathStyle: true,
        credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
      })
    expect((await checkState('s3://state', true, open)).status).toBe('ok')
    expect(s3.objects.size).toBe(0)
    s3.close()
  })

  test('that ignores conditions fails', async () => {
    let value: Uint8Array | undefined
    const put = async (_: string, bytes: Uint8Array) => {
      value = bytes
      return 'a version'
    }
    const careless: Store = {
      create: put,
      replace: put,
      read: async () => value && { bytes: value, version: 'a version', expiresAt: Infinity },
      remove: async () => {},
      list: async () => [],
      sweep: async () => {},
    }
    const { status, found } = await checkState('s3://old', true, async () => careless)
    expect([status, found]).toEqual(['fail', expect.stringContaining('conditional writes')])
  })

  test('in a folder that cannot be created fails', async () => {
    expect((await checkState(join(import.meta.dirname, 'model.test.ts', 'x'))).status).toBe('fail')
  })
})

test('uploads pass in a bucket that exists, and fail in another with the setting to change', async () => {
  await bucket('pictures')
  expect((await checkUploads('s3://pictures/uploads')).status).toBe('ok')
  await expect(checkUploads('s3://other/uploads')).rejects.toThrow("bucket's name in GLIMPSE_UPLOADS")
})

test('uploads are skipped unless set, and must be a bucket', async () => {
  expect((await checkUploads('')).status).toBe('skipped')
  await expect(checkUploads(join(homedir(), 'uploads'))).rejects.toBeInstanceOf(SetupError)
})
