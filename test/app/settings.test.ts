// Settings -> options of the HTTP app and of the model process, equal for every command and function.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { modelProcessOptions } from '../../src/app/engine.ts'
import { serverOptions } from '../../src/app/server.ts'
import { openHttp } from '../../src/aws/http.ts'
import { serveCommand } from '../../src/cli/serve.ts'
import { workCommand } from '../../src/cli/work.ts'
import { readConfig } from '../../src/config.ts'
import { createApp } from '../../src/serve/routes.ts'

class Stop extends Error {}
vi.mock('../../src/serve/routes.ts', () => ({
  createApp: vi.fn(() => {
    throw new Stop()
  }),
}))

const env = {
  GLIMPSE_ALLOWED_HOSTS: 'a.example, b.example',
  GLIMPSE_API_TOKEN: 'token-of-the-tests',
  GLIMPSE_MAX_QUEUE: '3',
  GLIMPSE_MAX_BATCH: '5',
  GLIMPSE_DEADLINE_MS: '7000',
  GLIMPSE_UPLOADS: 's3://pictures/uploads',
  GLIMPSE_QUEUE: 'https://sqs.eu-west-1.amazonaws.com/1/q.fifo',
  // A remote engine: no model is opened, and no request is sent.
  GLIMPSE_ENGINE: 'http://127.0.0.1:1',
  DISCORD_TOKEN: 'token-of-the-tests',
}

beforeEach(() => {
  const state = mkdtempSync(join(tmpdir(), 'glimpse-settings-'))
  for (const [name, value] of Object.entries({ ...env, GLIMPSE_STATE: state })) vi.stubEnv(name, value)
  onTestFinished(() => {
    vi.unstubAllEnvs()
    rmSync(state, { recursive: true })
  })
})

test.each([
  ['glimpse serve', () => serveCommand().parseAsync(['--port', '0'], { from: 'user' })],
  ['glimpse work', () => workCommand().parseAsync(['--port', '0'], { from: 'user' })],
  ['the function http', openHttp],
])('%s passes every server setting to the HTTP app', async (_, start) => {
  vi.mocked(createApp).mockClear()
  await expect(start()).rejects.toBeInstanceOf(Stop)
  const options = vi.mocked(createApp).mock.lastCall![1]!
  expect(options).toMatchObject({
    hosts: expect.arrayContaining(['a.example', 'b.example']),
    token: 'token-of-the-tests',
    maxQueue: 3,
    concurrency: 5,
    deadlineMs: 7_000,
    uploads: { createUpload: expect.any(Function) },
  })
  expect(await options.store!()).toHaveProperty('create')
})

test('unset settings give no hosts, no token and no uploads; an unusable store fails on first use', async () => {
  const settings = await serverOptions(readConfig({ GLIMPSE_STATE: '/dev/null/state' }))
  expect(settings).toMatchObject({ hosts: [], token: '', uploads: undefined })
  await expect(settings.store()).rejects.toMatchObject({ code: 'no_state' })
})

test('the model process gets threads, provider and batch size of the settings', () => {
  const config = readConfig({
    GLIMPSE_PROVIDER: 'cuda',
    GLIMPSE_PROVIDER_MISSING: 'cpu',
    GLIMPSE_MAX_BATCH: '2',
  })
  const provider = { requested: 'cuda', onUnavailable: 'cpu' }
  expect(modelProcessOptions(config)).toMatchObject({ threads: undefined, provider, maxBatch: 2 })
})
