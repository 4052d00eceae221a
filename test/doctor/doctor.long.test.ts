// All checks together, and the command as a process.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { loadConfig } from '../../src/app/config.ts'
import { runChecks } from '../../src/doctor/check.ts'
import { examine } from '../../src/doctor/examine.ts'
import { glimpse } from '../cli/glimpse.ts'
import { httpStub } from './http-stub.ts'

const DEAD = 'http://127.0.0.1:1'

function fresh(): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-doctor-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return { GLIMPSE_CACHE: join(folder, 'cache'), GLIMPSE_STATE: join(folder, 'state'), GLIMPSE_PORT: '0' }
}

const doctor = (args: string[], env: Record<string, string>) => glimpse(['doctor', ...args], env)

test('a check that throws or hangs fails alone', async () => {
  const results = await runChecks(
    {
      hangs: () => new Promise(() => {}),
      throws: () => Promise.reject(new Error('xoxb-12-secret broke')),
      holds: async () => ({ status: 'ok', found: 'fine' }),
    },
    50,
  )
  expect(results.map(({ name, status }) => [name, status])).toEqual([
    ['hangs', 'fail'],
    ['throws', 'fail'],
    ['holds', 'ok'],
  ])
  expect(JSON.stringify(results)).not.toContain('xoxb')
})

test('without settings no check fails, and no service is called', async () => {
  const results = await examine(fresh())
  expect(results.filter(({ status }) => status === 'fail')).toEqual([])
  const skipped = results.filter(({ status }) => status === 'skipped').map(({ name }) => name)
  expect(skipped).toEqual(
    expect.arrayContaining([
      'secrets',
      'uploads',
      'slack',
      'slack socket',
      'discord',
      'queue',
      'engine',
      'clock',
    ]),
  )
})

test('secrets are those of the server: the same names, and they override the environment', async () => {
  const asked: string[] = []
  const ssm = await httpStub((_, body) => {
    const { Names } = JSON.parse(body) as { Names: string[] }
    asked.push(...Names)
    const Parameters = Names.filter((name) => name === '/p/GLIMPSE_API_TOKEN')
    return { body: { Parameters: Parameters.map((Name) => ({ Name, Value: 'of-the-store' })) } }
  })
  let token: string | undefined
  const engine = await httpStub(({ headers }) => {
    token = headers.authorization
    return { body: {} }
  })
  const env = {
    ...fresh(),
    GLIMPSE_SECRETS: '/p',
    GLIMPSE_API_TOKEN: 'of-the-environment',
    GLIMPSE_ENGINE: engine,
    AWS_REGION: 'eu-west-1',
    AWS_ENDPOINT_URL_SSM: ssm,
    AWS_ACCESS_KEY_ID: 'a',
    AWS_SECRET_ACCESS_KEY: 'b',
  }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  await examine(env)
  const names = [...asked.splice(0)].sort()
  expect([token, (await loadConfig()).apiToken]).toEqual(['Bearer of-the-store', 'of-the-store'])
  expect(names).toEqual(asked.sort())
})

test('a state that cannot be written fails with chats, and gives a warning without them', async () => {
  const env = { ...fresh(), GLIMPSE_STATE: '/dev/null/state' }
  const of = async (more: Record<string, string>) =>
    (await examine({ ...env, ...more })).find(({ name }) => name === 'state')?.status
  expect(await of({})).toBe('warn')
  expect(await of({ DISCORD_PUBLIC_KEY: 'a'.repeat(64) })).toBe('fail')
})

test('a bad setting hides neither another one nor the checks of the good ones', async () => {
  const results = await examine({
    ...fresh(),
    GLIMPSE_THREADS: 'many',
    GLIMPSE_TYPO: '1',
    GLIMPSE_MODEL: '/nowhere',
  })
  const of = (name: string) => results.find((result) => result.name === name)!
  expect(of('settings').found).toContain('GLIMPSE_THREADS')
  expect(of('settings').found).toContain('GLIMPSE_TYPO')
  expect(of('model')).toMatchObject({ status: 'fail', found: expect.stringContaining('/nowhere') })
})

test('as a process it prints a line for each check and what to do, and exits with 1 when one fails', async () => {
  const { code, out } = await doctor([], { ...fresh(), GLIMPSE_MODEL: '/nowhere' })
  expect(code).toBe(1)
  expect(out).toMatch(/^ok {7}settings {6}\d+ set, all valid$/m)
  expect(out).toMatch(/^fail {5}model /m)
  expect(out).toMatch(/^warn|^ok {7}node/m)
  expect(out.trim().split('\n').at(-1)).toMatch(/^1 of \d+ checks failed\.$/)
})

test('--json prints one line, and exits with 0 when none fails', async () => {
  const { code, out } = await doctor(['--json', '--deep'], fresh())
  expect(code).toBe(0)
  expect(out.trim().split('\n')).toHaveLength(1)
  const { ok, checks } = JSON.parse(out)
  expect(ok).toBe(true)
  for (const check of checks)
    expect(Object.keys(check)).toEqual(expect.arrayContaining(['name', 'status', 'found', 'ms']))
})

test('the summary counts the warnings', async () => {
  // /dev/null/state cannot be created, which gives a warning without chats.
  const { code, out } = await doctor([], { ...fresh(), GLIMPSE_STATE: '/dev/null/state' })
  const warnings = out.split('\n').filter((line) => line.startsWith('warn')).length
  expect(out.trim().split('\n').at(-1)).toBe(
    `Passed with ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}.`,
  )
  expect(code).toBe(0)
})

test('no token is printed when every check of a token fails', async () => {
  const tokens = {
    SLACK_BOT_TOKEN: 'xoxb-11-bot-token',
    SLACK_APP_TOKEN: 'xapp-22-app-token',
    SLACK_SIGNING_SECRET: 'signing-33-secret',
    DISCORD_TOKEN: 'discord-44-token',
    GLIMPSE_API_TOKEN: 'api-55-token',
  }
  const places = { SLACK_API_URL: `${DEAD}/`, DISCORD_API_URL: DEAD, GLIMPSE_ENGINE: DEAD }
  const { code, out, err } = await doctor([], { ...fresh(), ...tokens, ...places })
  expect(code).toBe(1)
  for (const token of Object.values(tokens)) expect(`${out}${err}`).not.toContain(token)
})
