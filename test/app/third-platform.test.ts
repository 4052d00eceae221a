// A third platform added by one row of src/platforms.ts: it gets settings, a webhook, answers and a check in doctor.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { openChat } from '../../src/app/chat.ts'
import { openAnswer } from '../../src/aws/answer.ts'
import { openWebhook } from '../../src/aws/webhook.ts'
import type { Adapter, EventDeps } from '../../src/chat/adapter.ts'
import type { Platform } from '../../src/chat/platform.ts'
import type { Question } from '../../src/chat/question.ts'
import { readConfig, SECRET_NAMES, wantsChat } from '../../src/config.ts'
import { examine } from '../../src/doctor/examine.ts'
import { ok, skipped } from '../../src/finding.ts'
import type { AnyAdapter } from '../../src/platforms.ts'
import type { SettingValues } from '../../src/setting.ts'
import { ALT_TEXT as CAPTION, doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'

// config.ts reads the settings when it loads. The rest of the adapter is assigned to `pigeon` after the imports.
const { pigeon, posted, sent, PIGEON_SETTINGS } = vi.hoisted(() => {
  const pigeonToken = {
    env: 'PIGEON_TOKEN',
    description: 'Token of the loft.',
    defaultText: 'none',
    fallback: () => '',
    parse: (text: string) => text,
    expected: 'some text',
    isSecret: true as const,
  }
  const settings = { pigeonToken }
  return { pigeon: { settings }, posted: [] as string[], sent: [] as unknown[], PIGEON_SETTINGS: settings }
})
vi.mock('../../src/platforms.ts', async (original) => {
  const { PLATFORMS } = await original<typeof import('../../src/platforms.ts')>()
  return { PLATFORMS: [...PLATFORMS, pigeon] }
})
vi.mock('../../src/queue/open.ts', () => ({
  openQueue: async () => ({
    check: async () => {},
    send: async (message: unknown) => void sent.push(message),
  }),
}))

type Values = SettingValues<typeof PIGEON_SETTINGS>

const platform: Platform = {
  name: 'pigeon',
  fetchPicture: async () => PNG,
  localeOf: async () => undefined,
  parentPictures: async () => ({ pictures: [] }),
  startTyping: async () => {},
  stopTyping: async () => {},
  post: async (_, { parts }) => {
    posted.push(...parts.map(({ text }) => text))
    return [{ message: '2' }]
  },
  findPosted: async () => undefined,
  deleteReply: async () => {},
}

const question: Question = {
  id: 'pigeon/1',
  platform: 'pigeon',
  trigger: 'mention',
  asker: { id: 'dove' },
  text: '',
  pictures: [{ id: 'p1' }],
  conversations: ['pigeon/loft/1'],
  channel: 'pigeon/loft',
  askedAt: Date.now(),
  route: {},
}

const webhook =
  ({ sink }: EventDeps) =>
  async () => {
    await sink.submit(question)
    return new Response('coo')
  }

Object.assign(pigeon, {
  label: 'Pigeon',
  settings: PIGEON_SETTINGS,
  webhookPath: '/pigeon/events',
  secrets: { receive: ['PIGEON_TOKEN'], reply: ['PIGEON_TOKEN'] },
  open: async ({ pigeonToken }: Values) =>
    pigeonToken === ''
      ? undefined
      : {
          platform,
          receive: (deps) => ({ webhook: webhook(deps), start: async () => {}, stop: async () => {} }),
        },
  openWebhook: async (_: Values, deps) => webhook(deps),
  checks: {
    pigeon: async ({ pigeonToken }) =>
      pigeonToken === '' ? skipped('PIGEON_TOKEN is not set') : ok('it coos'),
  },
  apiUrl: () => undefined,
} satisfies Adapter<typeof PIGEON_SETTINGS>)

function environment(more: Record<string, string> = {}): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-pigeon-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return { GLIMPSE_STATE: folder, PIGEON_TOKEN: 'seed', ...more }
}

test('readConfig reads its settings, and its token is a secret', () => {
  const config = readConfig(environment())
  expect(config).toMatchObject({ pigeonToken: 'seed' })
  expect(SECRET_NAMES).toContain('PIGEON_TOKEN')
  expect(wantsChat(config)).toBe(true)
  expect(wantsChat(readConfig({}))).toBe(false)
})

test('`serve` receives its events and answers them', async () => {
  const config = readConfig(environment())
  const engine = Promise.resolve(doubleEngine())
  const errors: unknown[] = []
  const chat = await openChat({ config, engine, receives: true, report: (error) => void errors.push(error) })
  expect(chat.names).toEqual(['Pigeon'])
  await chat.start()
  const response = await chat.handlers['/pigeon/events']!(new Request('http://x/', { method: 'POST' }))
  expect(await response.text()).toBe('coo')
  await until(() => posted.length > 0)
  await chat.stop(1_000)
  expect(posted).toEqual([CAPTION])
  expect(errors).toEqual([])
})

test('its webhook function queues its events, and the function answer opens with it', async () => {
  for (const [name, value] of Object.entries(environment({ GLIMPSE_ENGINE: 'http://127.0.0.1:1' })))
    vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  const app = await openWebhook(pigeon as unknown as AnyAdapter)
  const response = await app.request('/pigeon/events', { method: 'POST' })
  expect(await response.text()).toBe('coo')
  expect(sent).toEqual([{ kind: 'question', question }])
  await expect(openAnswer()).resolves.toBeTypeOf('function')
})

test('doctor checks it', async () => {
  const results = await examine(environment({ GLIMPSE_PORT: '0' }))
  expect(results.find(({ name }) => name === 'pigeon')).toMatchObject({ status: 'ok', found: 'it coos' })
})
