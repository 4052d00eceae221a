// The function `answer` dies at every step: after each request that it sends, once that has taken effect. And S3 fails for ten
// minutes. Times are those of gpu=url, gpu=none and gpu=lambda, whose function may run for the longest time. Real are the
// bundles, SQS and S3 (moto), the SDKs; doubles are Slack, the remote engine and Lambda's event source.
//
// Each death has three questions: one whose process dies, one in another thread of its channel, one behind it in its thread.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { HIDDEN_S } from '../../src/queue/queue.ts'
import { envelope } from '../slack/harness.ts'
import { type Cloud, SECRET, sourceOf, startCloud } from './cloud.ts'
import { slackEvent } from './lambda.ts'

const TIMEOUT_S = 150
const QUEUE_HIDDEN_S = 160

let cloud: Cloud
beforeAll(async () => {
  cloud = await startCloud({ timeoutS: TIMEOUT_S, hiddenS: QUEUE_HIDDEN_S })
})
afterAll(() => cloud?.close())

test('whatever step the function dies at, each question has one reply within a minute, and other threads of its channel do not wait', async () => {
  const { front, start, ask, deliver } = cloud
  const other = start('other', 0)
  const later = start('later', 1_000 * HIDDEN_S)
  const wrong: string[] = []
  /** Steps before the function has hidden the message itself: its queue does, for longer. */
  const early: number[] = []
  let step = 0
  for (; ; step++) {
    const channel = `C${step}`
    const name = `dying${step}`
    const dying = start(name, 0)
    front.killAfter(name, step, dying.stop)
    await ask({ channel, ts: '1.1', picture: `/${name}/picture` })
    await ask({ channel, ts: '2.1', picture: '/other/picture' })
    await ask({ channel, ts: '1.2', thread: '1.1' })

    const first = (await cloud.receive())!
    // It needed fewer requests than that: there are no more steps.
    if (await cloud.invoke(first, dying)) {
      expect((await deliver(later)).sort()).toEqual(['1.2', '2.1'])
      break
    }
    // The question behind it in its thread waits, that of another thread does not.
    expect(await deliver(other)).toEqual(['2.1'])
    if (!front.hidden.has(first.ReceiptHandle)) early.push(step)
    expect(await cloud.pass()).toBe(early.includes(step) ? QUEUE_HIDDEN_S : HIDDEN_S)
    expect(await deliver(later)).toEqual(['1.1', '1.2'])
    for (const [thread, count] of Object.entries({ '1.1': 2, '2.1': 1 })) {
      const found = front.replies(channel, thread)
      if (found !== count) wrong.push(`death after request ${step}: ${found} replies in thread ${thread}`)
    }
  }
  expect(wrong).toEqual([])
  // The claim, the picture, the engine, the reply and what is recorded of it are requests of their own.
  expect(step).toBeGreaterThan(20)
  // While it starts.
  expect(early).toEqual([...early.keys()])
  expect(early.length).toBeLessThan(6)
  expect(await cloud.deadCount()).toBe('0')
  console.log(`${step} deaths, ${wrong.length} wrong, ${early.length} before the message was hidden`)
}, 900_000)

test('a function that works for longer than its message is hidden hides it anew, and its death still delays the next question by less than a minute', async () => {
  const { front, start, ask, deliver } = cloud
  const dying = start('long', 0)
  // The first hiding, and two heartbeats.
  front.killAfterHiding('long', 3, dying.stop)
  await ask({ channel: 'D', ts: '1.1', picture: '/long/picture', isDirect: true })
  await ask({ channel: 'D', ts: '1.2', isDirect: true })
  const first = (await cloud.receive())!
  expect(await cloud.invoke(first, dying)).toBeUndefined()
  const other = start('beside', 0)
  expect(await deliver(other)).toEqual([])
  expect(await cloud.pass()).toBe(HIDDEN_S)
  expect(await deliver(start('after', 1_000 * HIDDEN_S))).toEqual(['1.1', '1.2'])
  expect(front.replies('D')).toBe(2)
}, 300_000)

test('while S3 fails for ten minutes a question waits in the queue, and is answered afterwards', async () => {
  const { front, start } = cloud
  front.isS3Down = true
  const channel = 'COUT'
  const webhook = start('webhook', 0, 'slack')
  const event = {
    type: 'app_mention',
    channel,
    user: 'U1',
    ts: '1.1',
    text: '<@UBOT>',
    files: [{ id: 'F1', mimetype: 'image/png', url_private: `${front.url}/outage/picture` }],
  }
  expect(await webhook.invoke(slackEvent(envelope('T', event), SECRET))).toMatchObject({
    statusCode: 200,
  })
  let passedS = 0
  let lines: string[] = []
  for (let deliveries = 1; ; deliveries++) {
    front.isS3Down = passedS < 600
    const answer = start(`outage${deliveries}`, 1_000 * passedS)
    const message = (await cloud.receive())!
    expect(sourceOf(message)).toBe('1.1')
    expect(message.Attributes?.ApproximateReceiveCount).toBe(String(deliveries))
    const isAnswered = await cloud.invoke(message, answer)
    lines = answer.lines()
    answer.stop()
    if (!front.isS3Down) {
      expect(isAnswered, lines.join('\n')).toBe(true)
      break
    }
    expect(isAnswered).toBe(false)
    // The faults are counted although the bucket did not open.
    expect(lines.some((line) => line.includes('"glimpse_faults_total"'))).toBe(true)
    passedS += (await cloud.pass())!
  }
  expect(front.replies(channel, '1.1'), lines.join('\n')).toBe(1)
  // Of the 15 minutes for which a question is answered.
  expect(passedS).toBeLessThan(14 * 60)
  expect(await cloud.deadCount()).toBe('0')
  webhook.stop()
}, 300_000)
