// How long a function hides its messages. Only the interval's clock is a double's: SQS is one in this process.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openVisibility } from '../../src/aws/visibility.ts'
import { HEARTBEATS, HIDDEN_S } from '../../src/queue/queue.ts'
import { askSqs, eventOf, type SqsDouble, startSqsDouble } from '../queue/sqs-double.ts'
import { until } from '../until.ts'

const HEARTBEAT_MS = (1_000 * HIDDEN_S) / HEARTBEATS

let sqs: SqsDouble
beforeEach(async () => {
  sqs = await startSqsDouble()
  const message = { MessageBody: 'a', MessageGroupId: 'g', MessageDeduplicationId: 'a' }
  await askSqs(sqs, 'SendMessage', message)
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(async () => {
  vi.useRealTimers()
  await sqs.close()
})

const receive = async () => {
  const { Messages = [] } = await askSqs(sqs, 'ReceiveMessage', { VisibilityTimeout: 160 })
  return eventOf(Messages).Records
}
const open = () =>
  openVisibility(sqs.url, {
    endpoint: sqs.endpoint,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    maxAttempts: 1,
  })
const changes = () => sqs.answered('ChangeMessageVisibility')

test('while a function runs its message is hidden anew; after its death it is visible within 45 s', async () => {
  const visibility = open()
  const [record] = await receive()
  await visibility.hideWhileRunning(record!, Date.now() + 150_000)
  for (let beats = 2; beats < 10; beats++) {
    sqs.pass(HEARTBEAT_MS)
    vi.advanceTimersByTime(HEARTBEAT_MS)
    await until(() => changes() === beats)
    expect(await receive()).toEqual([])
  }
  // It dies: no heartbeat is sent any more.
  vi.clearAllTimers()
  sqs.pass(30_000)
  expect(await receive()).toEqual([])
  sqs.pass(15_000)
  expect(await receive()).toHaveLength(1)
})

test('a message is not hidden beyond 5 s after the end of its function', async () => {
  const [record] = await receive()
  await open().hideWhileRunning(record!, Date.now() + 10_000)
  sqs.pass(14_000)
  expect(await receive()).toEqual([])
  sqs.pass(2_000)
  expect(await receive()).toHaveLength(1)
})

test('a heartbeat that is being sent does not end a longer time', async () => {
  const visibility = open()
  const [record] = await receive()
  await visibility.hideWhileRunning(record!, Date.now() + 150_000)
  vi.advanceTimersByTime(HEARTBEAT_MS)
  await visibility.hideWhileWaiting(record!, 660_000)
  expect(changes()).toBe(3)
  vi.advanceTimersByTime(10 * HEARTBEAT_MS)
  sqs.pass(660_000)
  expect(await receive()).toEqual([])
  expect(changes()).toBe(3)
})

test('after the end of a delivery nothing is sent', async () => {
  const visibility = open()
  const [record] = await receive()
  await visibility.hideWhileRunning(record!, Date.now() + 150_000)
  vi.advanceTimersByTime(HEARTBEAT_MS)
  await visibility.stopHiding(record!)
  expect(changes()).toBe(2)
  vi.advanceTimersByTime(10 * HEARTBEAT_MS)
  await visibility.show(record!)
  expect(changes()).toBe(3)
})

test('a message that another delivery has is left alone; a failure of SQS is thrown to who shows a message', async () => {
  const { show } = open()
  await show({ receiptHandle: 'of an earlier delivery' })
  const [record] = await receive()
  sqs.fault({ on: 'ChangeMessageVisibility', status: 503 })
  await expect(show(record!)).rejects.toThrow()
  await show(record!)
  expect(await receive()).toHaveLength(1)
})
