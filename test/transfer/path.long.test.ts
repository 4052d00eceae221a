// The whole way: the embedded model is pushed, and a command line that knows only the bucket captions a picture.

import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { embeddedArtifact } from '../../src/builder/embedded.ts'
import { pushArtifact } from '../../src/transfer/push.ts'
import { type S3Double, startS3Double } from '../store/s3-double.ts'
import { until } from '../until.ts'
import { credentials } from './model.ts'

const PICTURE = 'models/demo/crab-and-helicopter.png'
const PLACE = 's3://models/pico/v1'
let s3: S3Double
let room: string
let artifact: string
beforeAll(async () => {
  s3 = await startS3Double('models')
  room = await mkdtemp(join(tmpdir(), 'glimpse-path-'))
  artifact = await embeddedArtifact(join(room, 'built'))
  await pushArtifact(artifact, PLACE, { client: credentials(s3) })
})
afterAll(async () => {
  s3.close()
  await rm(room, { recursive: true, force: true })
})

const glimpse = (env: Record<string, string>, ...words: string[]) =>
  promisify(execFile)(process.execPath, ['dist/cli/main.js', ...words], {
    env: {
      PATH: process.env.PATH,
      GLIMPSE_CACHE: join(room, 'cache'),
      AWS_ENDPOINT_URL_S3: s3.endpoint,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      NODE_NO_WARNINGS: '1',
      ...env,
    },
  })

test('GLIMPSE_MODEL=s3://... says what the folder says', async () => {
  const { stdout } = await glimpse({}, 'caption', '--model', artifact, PICTURE)
  expect(stdout.trim()).not.toBe('')
  expect((await glimpse({ GLIMPSE_MODEL: PLACE }, 'caption', PICTURE)).stdout).toBe(stdout)
  expect(await readdir(join(room, 'cache', 'models'))).toHaveLength(1)
})

test('where nothing is, the command says what to do', async () => {
  await expect(glimpse({ GLIMPSE_MODEL: 's3://models/other' }, 'caption', PICTURE)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('Put one there: npx glimpse push <artifact> s3://models/other'),
  })
})

test.each([
  ['caption', PICTURE],
  ['serve', '--port', '0'],
])('stopped while %s fetches its model, it ends at once', async (...words) => {
  s3.bytesPerSecond = 10_000
  const cache = join(room, `stopped-${words[0]}`)
  s3.asked.length = 0
  const running = glimpse({ GLIMPSE_MODEL: PLACE, GLIMPSE_CACHE: cache }, ...words)
  const ended = running.catch((error: unknown) => error)
  await until(() => s3.asked.some((line) => line.includes('.data ')))
  running.child.kill('SIGTERM')
  await ended
  s3.bytesPerSecond = Number.POSITIVE_INFINITY
  const left = await readdir(join(cache, 'models'))
  expect(left.every((name) => name.endsWith('.partial'))).toBe(true)
  expect(left).toHaveLength(1)
})
