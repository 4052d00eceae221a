// `glimpse listen` hears Slack, `glimpse work` answers with the embedded model, and between them is a queue in SQS: three
// processes that know each other only by its address and by the store.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { mentionWith, type SocketDouble, startSocketDouble } from '../slack/socket.ts'
import { until } from '../until.ts'

const ROOT = join(import.meta.dirname, '../..')
let slack: SocketDouble
let sqs: SqsDouble
let state: string
const processes = new Set<ChildProcess>()

beforeAll(async () => {
  slack = await startSocketDouble(await readFile(join(ROOT, 'models/demo/crab-and-helicopter.png')))
  sqs = await startSqsDouble()
  state = await mkdtemp(join(tmpdir(), 'glimpse-state-'))
})
afterAll(async () => {
  await Promise.all([...processes].map(stop))
  slack.close()
  await sqs.close()
  await rm(state, { recursive: true, force: true })
})

/** Resolves when it prints how to end it, or has ended; with all it printed. */
async function start(command: string, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['dist/cli/main.js', command, '--port', '0'], {
    cwd: ROOT,
    env: {
      ...process.env,
      SLACK_BOT_TOKEN: 'xoxb-path',
      SLACK_APP_TOKEN: 'xapp-path',
      SLACK_API_URL: slack.apiUrl,
      GLIMPSE_STATE: state,
      GLIMPSE_QUEUE: sqs.url,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      ...env,
    },
  })
  processes.add(child)
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => {
      printed += text
    })
  await Promise.race([
    until(() => printed.includes('Ctrl-C')),
    new Promise((resolve) => child.once('exit', resolve)),
  ])
  return { child, printed: () => printed }
}

async function stop(child: ChildProcess): Promise<number | null> {
  processes.delete(child)
  if (child.exitCode === null) {
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }
  return child.exitCode
}

test('what one hears the other answers, also when it comes only later, and both end in order', async () => {
  const listening = await start('listen')
  expect(listening.printed()).toContain('Slack')
  slack.send('e1', mentionWith(slack.pictureUrl))
  await until(() => sqs.waiting() === 1)
  const working = await start('work')
  expect(await slack.replies(1)).toEqual(['a crab to the left of a helicopter on a yellow background'])
  const { files: _, subtype: __, ...bare } = mentionWith('')
  slack.send('e2', { ...bare, ts: '2.0', thread_ts: '1.0', text: 'what is on the right?' })
  expect((await slack.replies(2))[1]).toBe('a helicopter')
  await until(() => sqs.waiting() === 0)
  expect(await Promise.all([listening.child, working.child].map(stop))).toEqual([0, 0])
})

test('serve with a queue hears, queues and answers in one process', async () => {
  const { child } = await start('serve')
  slack.send('e3', { ...mentionWith(slack.pictureUrl), ts: '3.0' })
  expect(await slack.replies(3)).toHaveLength(3)
  expect(await stop(child)).toBe(0)
})

test.each([
  ['listen', { GLIMPSE_QUEUE: '' }, 'GLIMPSE_QUEUE'],
  ['work', { GLIMPSE_QUEUE: 'memory' }, 'no other process sees'],
  ['listen', { SLACK_BOT_TOKEN: '', SLACK_APP_TOKEN: '' }, 'Expected tokens'],
])('%s says what is missing: %j', async (command, env, said) => {
  const { child, printed } = await start(command, env)
  await until(() => child.exitCode !== null)
  expect(child.exitCode).toBe(1)
  expect(printed()).toContain(said)
})
