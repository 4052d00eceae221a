// `glimpse serve` with Slack over Socket Mode and the embedded model: replies in a thread, before and after a restart.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ROOT, type Running, startGlimpse } from '../cli/glimpse.ts'
import { mentionWith, type SocketDouble, startSocketDouble } from '../slack/socket-mode-double.ts'

let slack: SocketDouble
let state: string
let server: Running

beforeAll(async () => {
  slack = await startSocketDouble(await readFile(join(ROOT, 'models/demo/crab-and-helicopter.png')))
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
})
afterAll(async () => {
  await server.stop()
  slack.close()
  await rm(state, { recursive: true, force: true })
})

const start = async (env: Record<string, string> = {}) => {
  server = await startGlimpse(['serve'], {
    SLACK_BOT_TOKEN: 'xoxb-path',
    SLACK_APP_TOKEN: 'xapp-path',
    SLACK_API_URL: slack.apiUrl,
    GLIMPSE_STATE: state,
    ...env,
  })
  return server.printed()
}

test('answers a mention with the caption, and a follow-up after a restart', async () => {
  expect(await start()).toMatch(/Slack +listening/)
  slack.send('e1', mentionWith(slack.pictureUrl))
  expect(await slack.replies(1)).toEqual(['A crab to the left of a helicopter on a yellow background.'])
  await server.stop()
  await start()
  const { files: _, subtype: __, ...message } = mentionWith('')
  slack.send('e2', { ...message, ts: '2.0', thread_ts: '1.0', text: 'what is on the right?' })
  expect((await slack.replies(2))[1]).toBe('a helicopter')
  await server.stop()
})

test('names SLACK_BOT_TOKEN if Slack refuses it, without the value', async () => {
  const printed = await start({ SLACK_API_URL: `${slack.apiUrl}nowhere/` })
  expect(printed).toContain('SLACK_BOT_TOKEN')
  expect(printed).not.toContain('xoxb-path')
})
