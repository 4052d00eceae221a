// `glimpse serve` with Slack set up, on the embedded model: an answer in the thread, and one more after a restart.

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

test('a mention is answered with the caption, and a follow-up after a restart with an answer', async () => {
  expect(await start()).toMatch(/Slack +listening/)
  slack.send('e1', mentionWith(slack.pictureUrl))
  expect(await slack.replies(1)).toEqual(['a crab to the left of a helicopter on a yellow background'])
  await server.stop()
  await start()
  const { files: _, subtype: __, ...bare } = mentionWith('')
  slack.send('e2', { ...bare, ts: '2.0', thread_ts: '1.0', text: 'what is on the right?' })
  expect((await slack.replies(2))[1]).toBe('a helicopter')
  await server.stop()
})

test('a token that Slack does not know is said so, with what to do', async () => {
  const printed = await start({ SLACK_API_URL: `${slack.apiUrl}nowhere/` })
  expect(printed).toContain('SLACK_BOT_TOKEN')
  expect(printed).not.toContain('xoxb-path')
})
