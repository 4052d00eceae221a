// A model in a bucket is in the cache, whole, before anything opens it; what is wrong with it is said in one sentence.

import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { isGlimpseError } from '../../src/errors.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import { createApp } from '../../src/serve/routes.ts'
import { type FetchOptions, fetchArtifact } from '../../src/transfer/fetch.ts'
import { measured } from '../measured.ts'
import { doubleEngine } from '../serve/double.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { until } from '../until.ts'
import { isSame } from './fault-injection.ts'
import { credentials, type Files, makeModel, PIECE_BYTES, upload, withManifest } from './model.ts'

vi.mock('node:timers/promises', { spy: true })

const PLACE = 's3://models/model'
const DAY_MS = 86_400_000
let s3: S3Double
let room: string
let model: Files
beforeEach(async () => {
  s3 = await startS3Double('models')
  room = await mkdtemp(join(tmpdir(), 'glimpse-fetch-'))
  model = makeModel()
  upload(s3, model)
  resetMetrics()
  vi.mocked(sleep).mockClear()
})
afterEach(async () => {
  s3.close()
  await rm(room, { recursive: true, force: true })
})

const fetched = (options: Partial<FetchOptions> = {}, place = PLACE) =>
  fetchArtifact(place, {
    cacheFolder: room,
    client: { ...credentials(s3), retryMs: 2 },
    streams: { count: 4, pieceBytes: PIECE_BYTES },
    ...options,
  })
const inCache = () => readdir(join(room, 'models')).catch((): string[] => [])
const gets = () => s3.asked.filter((line) => line.startsWith('GET') && !line.includes('manifest'))
const flipped = (path: string) => {
  const bytes = Buffer.from(model.get(path)!)
  bytes[bytes.length >> 1]! ^= 1
  return bytes
}

test('every file is fetched once, in pieces, and is what was pushed', async () => {
  const progress: number[] = []
  const folder = await fetched({
    onProgress: ({ doneBytes, totalBytes }) => progress.push(doneBytes / totalBytes),
  })
  expect(await isSame(folder, model)).toBe(true)
  expect(gets().sort()).toEqual([
    'GET model/language.data 0-65535',
    'GET model/language.data 131072-196607',
    'GET model/language.data 65536-131071',
    'GET model/tokenizer.json 0-6552',
    'GET model/vision.data 0-65535',
    'GET model/vision.data 131072-163839',
    'GET model/vision.data 65536-131071',
  ])
  expect(progress.at(-1)).toBe(1)
  expect(progress).toEqual([...progress].sort((a, b) => a - b))
  expect(await inCache()).toEqual([folder.split('/').at(-1)])
  expect(await measured('glimpse_model_load_seconds', { step: 'fetch' })).toBeGreaterThan(0)
})

test('a model that is here already costs one request', async () => {
  const folder = await fetched()
  s3.asked.length = 0
  expect(await fetched()).toBe(folder)
  expect(s3.asked).toEqual(['GET model/manifest.json'])
})

test('another version is another folder, and going back fetches nothing', async () => {
  const first = await fetched()
  upload(s3, makeModel(2))
  const second = await fetched()
  expect(second).not.toBe(first)
  upload(s3, model)
  s3.asked.length = 0
  expect(await fetched()).toBe(first)
  expect(gets()).toEqual([])
})

test('models unused for 30 days go when another is fetched, with what was left half for a day', async () => {
  const old = await fetched()
  const days = async (path: string, count: number) => {
    const then = new Date(Date.now() - count * DAY_MS)
    await utimes(path, then, then)
  }
  await days(old, 31)
  for (const name of ['a.partial', 'a.partial.lock', 'b.partial-0']) {
    await mkdir(join(room, 'models', name))
    await days(join(room, 'models', name), 2)
  }
  upload(s3, makeModel(2))
  const folder = await fetched()
  expect((await inCache()).map((name) => join(room, 'models', name))).toEqual([folder])
})

describe('what is wrong is said, and nothing is left', () => {
  const newer = (version: string) =>
    withManifest(makeModel(), (manifest) => {
      manifest.versions.onnxruntime = version
    })
  test.each<[string, () => void, string, string]>([
    [
      'nothing there',
      () => s3.objects.clear(),
      'no_artifact',
      'Expected an artifact with manifest.json at s3://models/model but nothing is there. Put one there: npx glimpse push <artifact> s3://models/model',
    ],
    [
      'one flipped byte',
      () => s3.put('model/vision.data', flipped('vision.data')),
      'damaged_artifact',
      '3 times something else arrived. Push the artifact again: npx glimpse push <artifact> s3://models/model',
    ],
    [
      'a truncated file',
      () => s3.put('model/vision.data', model.get('vision.data')!.subarray(1)),
      'damaged_artifact',
      'Expected vision.data with 163840 bytes in s3://models/model but it has 163839. Push the artifact again',
    ],
    [
      'a missing file',
      () => s3.objects.delete('model/language.onnx'),
      'damaged_artifact',
      'Expected language.onnx in s3://models/model but it is missing. Push the artifact again',
    ],
    [
      'another onnxruntime',
      () => upload(s3, newer('1.19.2')),
      'other_onnxruntime',
      's3://models/model was built for 1.19.2. Run the Glimpse that built it',
    ],
    [
      'a manifest of another format',
      () =>
        upload(
          s3,
          withManifest(model, (m) => Object.assign(m, { format: 'glimpse-artifact/99' })),
        ),
      'other_format',
      'Build it again: npx glimpse build <checkpoint> --out <folder> --precision int8, then npx glimpse push <folder> s3://models/model --replace',
    ],
    [
      'a manifest that is no JSON',
      () => s3.put('model/manifest.json', '{'),
      'damaged_artifact',
      'The manifest in s3://models/model is invalid at its start',
    ],
    [
      'a manifest with a name that leads elsewhere',
      () =>
        upload(
          s3,
          withManifest(model, (m) => Object.assign(m.files[0]!, { path: '..' })),
        ),
      'damaged_artifact',
      'at files.0.path',
    ],
  ])('%s', async (_, spoil, code, message) => {
    spoil()
    // As `glimpse serve` starts: it listens, and is never ready.
    const engine = fetched().then(() => doubleEngine())
    const app = createApp(engine)
    await expect(engine).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
    const ready = await app.fetch(new Request('http://localhost/readyz'))
    expect(ready.status).toBe(503)
    expect(await ready.json()).toMatchObject({ ready: false, reason: expect.stringContaining(message) })
    expect(await inCache()).toEqual([])
  })

  test('a bucket that refuses names what to check, at once', async () => {
    s3.fault(/./, 403, 100)
    await expect(fetched()).rejects.toMatchObject({
      kind: 'setup',
      code: 'bucket_refused',
      message: expect.stringContaining('Check the credentials, AWS_REGION'),
    })
    expect(s3.asked).toHaveLength(1)
  })

  test('no such bucket, and an address that is none', async () => {
    await expect(fetched({}, 's3://other/model')).rejects.toMatchObject({ code: 'no_bucket' })
    await expect(fetched({}, 's3:/model')).rejects.toMatchObject({ code: 'bad_place' })
  })

  test('a cache that is no folder', async () => {
    await writeFile(join(room, 'file'), '')
    await expect(fetched({ cacheFolder: join(room, 'file') })).rejects.toMatchObject({
      kind: 'setup',
      code: 'disk_refused',
      message: expect.stringContaining('GLIMPSE_CACHE'),
    })
  })
})

describe('what was fetched before is looked at again when it changed', () => {
  test('a byte that changed in the cache: the model is fetched anew', async () => {
    const folder = await fetched()
    await writeFile(join(folder, 'vision.data'), flipped('vision.data'))
    expect(await fetched()).toBe(folder)
    expect(await isSame(folder, model)).toBe(true)
    expect(await inCache()).toHaveLength(1)
  })

  test('a machine that went down since: hashed once, not fetched', async () => {
    const folder = await fetched()
    const note = await readFile(join(folder, '.checked'), 'utf8')
    await writeFile(join(folder, '.checked'), note.replace(/[0-9a-f]/, 'x'))
    s3.asked.length = 0
    await fetched()
    expect(gets()).toEqual([])
    expect(await readFile(join(folder, '.checked'), 'utf8')).toBe(note)
  })
})

describe('after a break', () => {
  /** A try that fails for good at one piece: another is there by then. */
  async function breakOff(): Promise<void> {
    s3.fault(/language.data 131072-/, 503, 6)
    await expect(fetched({ streams: { count: 1, pieceBytes: PIECE_BYTES } })).rejects.toMatchObject({
      kind: 'upstream',
      code: 'model_unreachable',
      message: expect.stringContaining('failed 6 times: it answered 503'),
    })
    // The lock is released.
    expect(await inCache()).toEqual([expect.stringMatching(/^\w+\.partial$/)])
    s3.asked.length = 0
  }

  test('the file goes on behind the bytes that are here', async () => {
    await breakOff()
    expect(await isSame(await fetched(), model)).toBe(true)
    expect(gets().filter((line) => line.includes('language.data'))).toEqual([
      'GET model/language.data 131072-196607',
    ])
    expect(await inCache()).toHaveLength(1)
  })

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['wrong', (bytes) => Buffer.from(bytes.map((byte, i) => (i === 70_000 ? byte ^ 1 : byte)))],
    ['too many', () => Buffer.alloc(200_000)],
  ])('a file of which the bytes that are here are %s is fetched again, alone', async (_, spoil) => {
    await breakOff()
    const file = join(room, 'models', (await inCache())[0]!, 'language.data')
    await writeFile(file, spoil(await readFile(file)))
    s3.asked.length = 0
    expect(await isSame(await fetched(), model)).toBe(true)
    expect(gets()).toContain('GET model/language.data 0-65535')
    expect(gets()).toHaveLength(new Set(gets()).size + Number(_ === 'wrong'))
  })

  test('a file that was uploaded again meanwhile is one file, of the version that is there', async () => {
    await breakOff()
    s3.objects.get('model/language.data')!.etag = '"another-2"'
    expect(await isSame(await fetched(), model)).toBe(true)
    expect(gets()).not.toContain('GET model/language.data 0-65535')
  })
})

test('a model that is replaced while it is fetched is noticed, and the new one taken', async () => {
  const next = makeModel(2)
  s3.misbehave = (asked) => {
    if (asked.startsWith('GET model/language.data')) {
      s3.misbehave = () => undefined
      upload(s3, next)
    }
    return undefined
  }
  expect(await isSame(await fetched(), next)).toBe(true)
  expect(await measured('glimpse_model_retries_total', { reason: 'replaced' })).toBe(1)
})

test('two who fetch the same at once get the same folder; one of them asked for the pieces', async () => {
  s3.bytesPerSecond = 2_000_000
  const one = fetched()
  await until(() => gets().length > 0)
  let waited = false
  const other = fetched({ onWait: () => (waited = true) })
  const [a, b] = await Promise.all([one, other])
  expect(a).toBe(b)
  expect(await isSame(a, model)).toBe(true)
  expect(gets()).toHaveLength(7)
  expect(waited).toBe(true)
  expect(await inCache()).toHaveLength(1)
})

test('ten who begin in the same moment do not hurt each other', async () => {
  const folders = await Promise.all(Array.from({ length: 10 }, () => fetched()))
  expect(new Set(folders).size).toBe(1)
  expect(await isSame(folders[0]!, model)).toBe(true)
  expect(await inCache()).toHaveLength(1)
})

/** A lock that a process holds, or held: its heartbeat was so long ago. */
async function lockedSince(ms: number): Promise<string> {
  const [name] = await inCache()
  const lock = join(room, 'models', `${name}.lock`)
  await mkdir(lock)
  const then = new Date(Date.now() - ms)
  await utimes(lock, then, then)
  return lock
}

test('what a process that died was filling is taken over', async () => {
  s3.fault(/language.data 131072-/, 503, 6)
  await fetched({ streams: { count: 1, pieceBytes: PIECE_BYTES } }).catch(() => {})
  await lockedSince(11_000)
  s3.asked.length = 0
  expect(await isSame(await fetched(), model)).toBe(true)
  expect(gets()).not.toContain('GET model/language.data 0-65535')
  expect(await inCache()).toHaveLength(1)
})

test('what another process is filling is waited for, until it stops or this one is stopped', async () => {
  s3.fault(/language.data 131072-/, 503, 6)
  await fetched({ streams: { count: 1, pieceBytes: PIECE_BYTES } }).catch(() => {})
  const lock = await lockedSince(0)
  s3.asked.length = 0
  const stop = new AbortController()
  const stopped = fetched({ signal: stop.signal, onWait: () => stop.abort() })
  await expect(stopped).rejects.toMatchObject({ code: 'cancelled' })
  expect(gets()).toEqual([])
  const onWait = vi.fn(async () => await rm(lock, { recursive: true, force: true }))
  expect(await isSame(await fetched({ onWait: () => void onWait() }), model)).toBe(true)
  expect(onWait).toHaveBeenCalled()
})

test('a process that paused until another took its lock fetches no more, and waits', async () => {
  s3.bytesPerSecond = 5_000
  let waits = 0
  const work = fetched({ onWait: () => waits++ })
  await until(() => gets().length > 0)
  const lock = join(room, 'models', (await inCache()).find((name) => name.endsWith('.lock'))!)
  // As another process does it that finds the lock stale.
  const now = new Date(Date.now() + 1_000)
  await utimes(lock, now, now)
  await until(() => waits > 0)
  s3.bytesPerSecond = Number.POSITIVE_INFINITY
  await rm(lock, { recursive: true })
  expect(await isSame(await work, model)).toBe(true)
  expect(await measured('glimpse_model_retries_total', { reason: 'replaced' })).toBe(1)
})

test('stopped: nothing goes on, and the next run goes on from there', async () => {
  s3.bytesPerSecond = 200_000
  const stop = new AbortController()
  const work = fetched({ signal: stop.signal, onProgress: () => stop.abort() })
  await expect(work).rejects.toMatchObject({ code: 'cancelled' })
  s3.bytesPerSecond = Number.POSITIVE_INFINITY
  expect(await isSame(await fetched(), model)).toBe(true)
})

test('faults are counted by reason', async () => {
  s3.fault(/vision.data 0-/, 503)
  let hasArrived = () => {}
  const once = new Promise<void>((resolve) => {
    hasArrived = resolve
  })
  s3.misbehave = (asked) => {
    if (!asked.startsWith('GET model/tokenizer.json 0-')) return undefined
    s3.misbehave = () => undefined
    return { kind: 'reset', after: 1000, once }
  }
  let before = 0
  const onProgress = ({ doneBytes }: { doneBytes: number }) => {
    if (doneBytes - before === 1000) hasArrived()
    before = doneBytes
  }
  expect(await isSame(await fetched({ onProgress }), model)).toBe(true)
  // What arrived before the break is not asked for again.
  expect(gets()).toContain('GET model/tokenizer.json 1000-6552')
  expect(await measured('glimpse_model_retries_total', { reason: 'slow_down' })).toBe(1)
  expect(await measured('glimpse_model_retries_total', { reason: 'reset' })).toBe(1)
})

test('a manifest that is damaged on the way is asked for again', async () => {
  s3.misbehave = (asked) => {
    if (!asked.startsWith('GET model/manifest')) return undefined
    s3.misbehave = () => undefined
    return { kind: 'flip' }
  }
  expect(await isSame(await fetched(), model)).toBe(true)
  expect(await measured('glimpse_model_retries_total', { reason: 'checksum' })).toBe(1)
})

test('S3 that says how long to wait is waited for', async () => {
  s3.misbehave = (asked) => {
    if (!asked.startsWith('GET model/manifest')) return undefined
    s3.misbehave = () => undefined
    return { kind: 'status', status: 503, headers: { 'retry-after': '7' } }
  }
  vi.mocked(sleep).mockResolvedValueOnce(undefined)
  await fetched()
  expect(vi.mocked(sleep).mock.calls[0]).toEqual([7_000, undefined, { signal: undefined }])
})

test('a folder of that time stays touched while it is used', async () => {
  const folder = await fetched()
  const then = new Date(Date.now() - 20 * DAY_MS)
  await utimes(folder, then, then)
  await fetched()
  expect(Date.now() - (await stat(folder)).mtimeMs).toBeLessThan(DAY_MS)
})

test('every failure is one of ours', async () => {
  s3.misbehave = () => ({ kind: 'status', status: 418, code: 'Teapot' })
  expect(isGlimpseError(await fetched().catch((error: unknown) => error))).toBe(true)
})
