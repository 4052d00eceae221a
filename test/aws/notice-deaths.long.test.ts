// With an endpoint of SageMaker, `answer` or `notice` dies at every step: after each request that it sends, once that has taken
// effect. The endpoint answers at once, and its notice is handled before `answer` hears of that; or it answers when nothing else
// is left to do. Real are the bundles, SQS and S3 (moto), the SDKs; doubles are Slack, the endpoint and Lambda's event sources.
//
// Each death has two direct messages of one channel: one whose process dies, and the next question.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cloud, sourceOf, startCloud } from './cloud.ts'
import type { Running } from './lambda.ts'

type Handler = 'answer' | 'notice'

let cloud: Cloud
beforeAll(async () => {
  cloud = await startCloud({ timeoutS: 50, hiddenS: 60, noticeHiddenS: 30 })
})
afterAll(() => cloud?.close())

/** Processes that do not die, by function and by how much their clock is ahead. */
const survivors = new Map<string, Running>()
function survivor(handler: Handler, passedS: number): Running {
  const name = `${handler}${passedS}`
  const found = survivors.get(name) ?? cloud.start(name, 1_000 * passedS, handler)
  survivors.set(name, found)
  return found
}

/** Seconds until both questions were answered, and whether the function died. */
async function ask(channel: string, victim: Handler, step: number, isFast: boolean) {
  const { front, receive, noticesUrl } = cloud
  const name = `dying-${channel}`
  const dying = cloud.start(name, 0, victim)
  front.killAfter(name, step, dying.stop)
  let isDead = false
  let passedS = 0
  const run = async (message: Awaited<ReturnType<typeof receive>> & object, handler: Handler) => {
    const isVictim = handler === victim && !isDead && (handler === 'notice' || sourceOf(message) === '1.1')
    const handled = await cloud.invoke(message, isVictim ? dying : survivor(handler, passedS))
    if (handled === undefined) isDead = true
  }
  const handleNotice = async () => {
    const notice = await receive(noticesUrl)
    if (notice) await run(notice, 'notice')
    return notice !== undefined
  }
  front.isAsleep = !isFast
  front.onNotice = isFast ? handleNotice : undefined
  await cloud.ask({
    channel,
    ts: '1.1',
    picture: `/${victim === 'answer' ? name : 'any'}/picture`,
    isDirect: true,
  })
  await cloud.ask({ channel, ts: '1.2', isDirect: true })
  while (true) {
    const question = await receive()
    if (question) await run(question, 'answer')
    else if (!(await handleNotice()) && (await front.wake()) === 0) {
      const seconds = await cloud.pass()
      if (seconds === undefined) break
      passedS += seconds
    }
  }
  dying.stop()
  return { isDead, passedS }
}

for (const isFast of [true, false])
  for (const victim of ['answer', 'notice'] as const) {
    const when = isFast ? 'before `answer` hears of it' : 'later'
    test(`whatever step \`${victim}\` dies at, each question has one reply within a minute; the endpoint answers ${when}`, async () => {
      const wrong: string[] = []
      // A death takes 4 s. So `answer` dies at even steps in one of its two tests, and at odd ones in the other.
      const stride = victim === 'answer' ? 2 : 1
      let step = stride === 2 && isFast ? 1 : 0
      for (; ; step += stride) {
        const channel = `${isFast ? 'F' : 'S'}${victim}${step}`
        const { isDead, passedS } = await ask(channel, victim, step, isFast)
        const replies = cloud.front.replies(channel)
        if (replies !== 2 || passedS > 60)
          wrong.push(`death after request ${step}: ${replies} replies within ${passedS} s`)
        if (!isDead) break
      }
      console.log(`deaths of ${victim} at ${step} steps, by ${stride}; ${wrong.length} wrong`)
      expect(wrong).toEqual([])
      expect(step).toBeGreaterThan(victim === 'answer' ? 30 : 2)
      expect(await cloud.deadCount()).toBe('0')
    }, 900_000)
  }

test('`answer` and `notice` touch only the objects that deploy/gpu-sagemaker.yml allows', () => {
  const all = (names: string, method: string, folders: string[]) =>
    folders.map((each) => `${names} ${method} sagemaker/${each}`)
  const allowed = [
    ...all('answer', 'PUT', ['in', 'asked', 'waiting']),
    ...['GET', 'HEAD'].flatMap((method) => all('answer', method, ['asked', 'out', 'failed'])),
    ...all('answer', 'DELETE', ['in', 'asked', 'waiting', 'out', 'failed']),
    ...['GET', 'HEAD'].flatMap((method) => all('notice', method, ['asked', 'waiting', 'out', 'failed'])),
  ]
  const touched = [...cloud.front.touched].filter(
    (each) => each.includes(' sagemaker/') && !/^dying/.test(each),
  )
  expect(touched.length).toBeGreaterThan(10)
  expect(touched.filter((each) => !allowed.includes(each))).toEqual([])
})
