// Settings -> findings of `glimpse doctor` about Slack and Discord, by the checks in the table of platforms.

import { describe, expect, test } from 'vitest'
import { type Config, readConfig } from '../../src/config.ts'
import { runChecks } from '../../src/doctor/check.ts'
import { platformChecks } from '../../src/doctor/examine.ts'
import { slackManifest } from '../../src/slack/manifest.ts'
import { startPeer } from '../slack/harness.ts'
import { type Answer, httpStub } from './http-stub.ts'

const { bot: SCOPES } = slackManifest().oauth_config.scopes

/** Runs one check as `glimpse doctor` runs it: an error becomes a finding. */
async function finding(wanted: string, config: Config) {
  const [result] = await runChecks({ [wanted]: platformChecks(config)[wanted]! }, 10_000)
  return result!
}
const checkSlack = (config: Config) => finding('slack', config)
const checkSlackSocket = (config: Config) => finding('slack socket', config)
const checkDiscord = (config: Config) => finding('discord', config)

async function slack(answer: Answer, env: Record<string, string> = {}) {
  const url = await httpStub(() => answer)
  return readConfig({
    SLACK_BOT_TOKEN: 'xoxb-1-abcdef',
    SLACK_SIGNING_SECRET: 'secret',
    SLACK_API_URL: `${url}/api/`,
    ...env,
  })
}

const slackAnswer = (scopes: readonly string[]): Answer => ({
  headers: { 'x-oauth-scopes': scopes.join(',') },
  body: { ok: true, team: 'Harbour', user: 'glimpse' },
})

describe('Slack', () => {
  test('is ok if Slack accepts the token and it has every scope', async () => {
    const found = await checkSlack(await slack(slackAnswer(SCOPES)))
    expect(found).toMatchObject({
      status: 'ok',
      found: 'glimpse in Harbour, with every scope of slack-manifest.json',
    })
  })

  test('fails and names the missing scopes', async () => {
    const { status, found } = await checkSlack(await slack(slackAnswer(SCOPES.slice(2))))
    expect([status, found]).toEqual([
      'fail',
      expect.stringContaining(`lacks the scopes ${SCOPES[0]}, ${SCOPES[1]}`),
    ])
  })

  test('fails with the reason if Slack refuses the token, without the token', async () => {
    const { status, found } = await checkSlack(await slack({ body: { ok: false, error: 'token_revoked' } }))
    expect([status, found]).toEqual(['fail', 'Slack refuses SLACK_BOT_TOKEN: token_revoked'])
  })

  test('names the host that cannot be reached', async () => {
    const config = readConfig({ SLACK_BOT_TOKEN: 'xoxb-1-abcdef', SLACK_API_URL: 'http://127.0.0.1:1/api/' })
    expect((await checkSlack(config)).found).toContain('127.0.0.1:1')
  })

  test('fails without a secret for events, or warns if a queue is set; is skipped without any Slack setting', async () => {
    const withoutEvents = { SLACK_SIGNING_SECRET: '' }
    expect((await checkSlack(await slack(slackAnswer(SCOPES), withoutEvents))).status).toBe('fail')
    const queued = { ...withoutEvents, GLIMPSE_QUEUE: 'https://sqs.eu-west-1.amazonaws.com/1/q.fifo' }
    expect((await checkSlack(await slack(slackAnswer(SCOPES), queued))).status).toBe('warn')
    expect((await checkSlack(readConfig({}))).status).toBe('skipped')
    expect((await checkSlack(readConfig({ SLACK_SIGNING_SECRET: 'secret' }))).status).toBe('fail')
  })

  test('is ok with a third-party emulator of Slack', async () => {
    const peer = await startPeer('http://127.0.0.1:9')
    try {
      const env = {
        SLACK_BOT_TOKEN: 'xoxb-of-the-tests',
        SLACK_SIGNING_SECRET: 's',
        SLACK_API_URL: `${peer.url}/api/`,
      }
      expect((await checkSlack(readConfig(env))).status).toBe('ok')
    } finally {
      peer.process.kill()
    }
  })

  test('opens a Socket Mode connection with the app token, or fails with the reason', async () => {
    const app = { SLACK_APP_TOKEN: 'xapp-1-abcdef' }
    const opened = await slack({ body: { ok: true, url: 'wss://127.0.0.1/' } }, app)
    expect((await checkSlackSocket(opened)).status).toBe('ok')
    const refused = await slack({ body: { ok: false, error: 'not_allowed_token_type' } }, app)
    expect((await checkSlackSocket(refused)).found).toContain('not_allowed_token_type')
    expect((await checkSlackSocket(readConfig({}))).status).toBe('skipped')
  })
})

describe('Discord', () => {
  const KEY = 'a'.repeat(64)
  const application = (more: object = {}): Answer => ({
    body: { id: '1', name: 'Glimpse', verify_key: KEY, flags: 0, ...more },
  })
  const discord = async (answer: Answer, env: Record<string, string> = {}) =>
    readConfig({ DISCORD_TOKEN: 'abcdef', DISCORD_API_URL: await httpStub(() => answer), ...env })

  test('is ok if Discord accepts the token, and names the application', async () => {
    const { status, found } = await checkDiscord(await discord(application()))
    expect([status, found]).toEqual(['ok', 'Glimpse; its interactions arrive over the gateway'])
  })

  test('fails if Discord refuses the token', async () => {
    const { found } = await checkDiscord(
      await discord({ status: 401, body: { message: '401: Unauthorized', code: 0 } }),
    )
    expect(found).toBe('Discord refuses DISCORD_TOKEN')
  })

  test.each([
    ['the public key of another application', {}, { DISCORD_PUBLIC_KEY: 'b'.repeat(64) }, 'fail'],
    ['its own public key', {}, { DISCORD_PUBLIC_KEY: KEY }, 'ok'],
    [
      'an interactions endpoint but no DISCORD_PUBLIC_KEY',
      { interactions_endpoint_url: 'https://a.example/' },
      {},
      'warn',
    ],
    ['the message content intent required but off', {}, { GLIMPSE_DISCORD_MESSAGE_CONTENT: 'on' }, 'fail'],
    [
      'the message content intent required and on',
      { flags: 1 << 19 },
      { GLIMPSE_DISCORD_MESSAGE_CONTENT: 'on' },
      'ok',
    ],
  ])('given %s', async (_, more, env, status) => {
    expect((await checkDiscord(await discord(application(more), env as Record<string, string>))).status).toBe(
      status,
    )
  })

  test('without a token is skipped, or fails if the public key is set', async () => {
    expect((await checkDiscord(readConfig({}))).status).toBe('skipped')
    expect((await checkDiscord(readConfig({ DISCORD_PUBLIC_KEY: KEY }))).status).toBe('fail')
  })
})
