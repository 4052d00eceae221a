// One run of queue-faults: each question is sent three times, in random order and among poison messages, to processes that
// crash and a platform that fails. All faults follow from the run's seed.
//
// The producer and the unmodified SDK send to the SQS double over HTTP. Messages are handled as on Lambda, one for each
// invocation (queue/lambda-batch.ts). The message of a crashed process is delivered again when its visibility timeout ends.

import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import { UpstreamError } from '../../src/errors.ts'
import { questionHandler } from '../../src/queue/handler.ts'
import { processPartialResponse } from '../../src/queue/lambda-batch.ts'
import { queueProducer } from '../../src/queue/producer.ts'
import type { MessageHandler } from '../../src/queue/queue.ts'
import { sqsQueue } from '../../src/queue/sqs.ts'
import { inMemoryStore } from '../chat/in-memory-store.ts'
import { doubleEngine, PNG } from '../serve/double.ts'
import { askSqs, eventOf, type SqsDouble, startSqsDouble } from './sqs-double.ts'

export interface Run {
  /** Number of visible replies by question id. */
  visible: Map<string, number>
  /** Poison messages in the dead-letter queue, and other messages. */
  poisonDead: number
  othersDead: number
  deaths: number
  /** Of `deaths`: after the model's answer and before a reply was posted. */
  deathsBeforeReply: number
  /** Of `deaths`: between a reply and its record. */
  deathsAfterPost: number
  platformFaults: number
  queueFaults: number
  /** Deliveries beyond the first of each message. */
  redeliveries: number
}

export interface RunOptions {
  /** Whether the platform can find a posted reply. It cannot for ephemeral replies. */
  canFind?: boolean
}

const HOUR_MS = 3_600_000
/** Longer than a lease, so that the claims of crashed processes have expired. */
const HIDDEN_S = 35
/** Bounds crashes, because a message has five deliveries: one may find the job held, and one must succeed. */
const MOST_DEATHS = 3
/** One in so many calls of the store may be the last. */
const STORE_STEPS = 8
const QUESTIONS = ['a', 'b', 'c', 'd']
const CHANNELS = ['one', 'two', 'one', 'three']
const NEVER = new Promise<never>(() => {})
type Fate = 'dies before' | 'dies after' | 'fails before' | 'fails after' | 'well'
const FATES: readonly Fate[] = [
  'dies before',
  'dies after',
  ...Array<Fate>(3).fill('fails before'),
  ...Array<Fate>(3).fill('fails after'),
  ...Array<Fate>(12).fill('well'),
]

export async function play(seed: number, { canFind = true }: RunOptions = {}): Promise<Run> {
  const source = xoroshiro128plus(seed)
  const random = (limit: number) => uniformInt(source, 0, limit - 1)
  const sqs = await startSqsDouble()
  try {
    return await playOn(sqs, random, canFind)
  } finally {
    await sqs.close()
  }
}

async function playOn(sqs: SqsDouble, random: (limit: number) => number, canFind: boolean): Promise<Run> {
  const clock = { now: 1_000_000 }
  const store = inMemoryStore(() => clock.now)
  const preferences = openPreferences(store)
  const visible: string[] = []
  const run: Omit<Run, 'visible' | 'poisonDead' | 'othersDead'> = {
    deaths: 0,
    deathsBeforeReply: 0,
    deathsAfterPost: 0,
    platformFaults: 0,
    queueFaults: 0,
    redeliveries: 0,
  }
  const queue = sqsQueue(sqs.url, {
    endpoint: sqs.endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  })
  const pass = (ms: number) => {
    sqs.pass(ms)
    clock.now += ms
  }

  /** Starts a process. After a crash none of its steps has an effect. */
  const start = () => {
    let isOver = false
    let resolveDied = () => {}
    const died = new Promise<'died'>((resolve) => {
      resolveDied = () => resolve('died')
    })
    const die = (): Promise<never> => {
      run.deaths++
      isOver = true
      resolveDied()
      return NEVER
    }
    const failed = () => {
      run.platformFaults++
      return new UpstreamError('slack_failed', 'The platform failed (injected fault).')
    }
    const step = async <T>(
      work: () => Promise<T>,
      canFail: boolean,
      onDeath: (isDone: boolean) => void,
    ): Promise<T> => {
      if (isOver) return NEVER
      const fate = FATES[random(FATES.length)]!
      const mayDie = run.deaths < MOST_DEATHS
      if (fate === 'dies before' && mayDie) {
        onDeath(false)
        return die()
      }
      if (fate === 'fails before' && canFail) throw failed()
      const done = await work()
      if (isOver) return NEVER
      if (fate === 'dies after' && mayDie) {
        onDeath(true)
        return die()
      }
      if (fate === 'fails after' && canFail) throw failed()
      return done
    }
    const platform: Platform = {
      name: 'test',
      localeOf: async () => undefined,
      parentPictures: async () => ({ pictures: [] }),
      fetchPicture: () =>
        step(
          async () => PNG,
          false,
          () => {},
        ),
      startTyping: async () => {},
      stopTyping: async () => {},
      post: (question) => {
        return step(
          async () => {
            visible.push(question.id)
            return [{ id: question.id }]
          },
          true,
          (isDone) => run[isDone ? 'deathsAfterPost' : 'deathsBeforeReply']++,
        )
      },
      findPosted: async ({ id }) => (canFind && visible.includes(id) ? [{ id }] : undefined),
      deleteReply: async () => {},
    }
    // A question has twenty calls of the store and one of the platform: most deaths would be at the former.
    const storeStep = <T>(work: () => Promise<T>): Promise<T> =>
      random(STORE_STEPS) > 0 && !isOver
        ? work().then((done) => (isOver ? NEVER : done))
        : step(work, false, () => {})
    const processor = openProcessor({
      engine: Promise.resolve(doubleEngine()),
      store: new Proxy(store, {
        get: (target, name: keyof typeof store) =>
          name === 'list' || name === 'sweep'
            ? target[name]
            : (...given: unknown[]) =>
                storeStep(() => (target[name] as (...all: unknown[]) => Promise<never>)(...given)),
      }),
      platforms: [platform],
      rateLimiter: { consume: async () => undefined },
      preferences,
      maxQueue: 100,
      keepMs: HOUR_MS,
      report: () => {},
      now: () => clock.now,
      sleep: async () => {},
    })
    return { work: questionHandler(processor), died, isDead: () => isOver }
  }

  await sendAll()
  let process = start()
  const seen = new Set<string>()
  for (let rounds = 0; sqs.waiting() > 0; rounds++) {
    if (rounds > 200) throw new Error(`Expected the queue to be empty but ${sqs.waiting()} are left.`)
    if (process.isDead()) process = start()
    const taken = await receive(1 + random(3))
    if (taken.length === 0) {
      pass(1_000 * HIDDEN_S + 1_000)
      continue
    }
    await Promise.all(taken.map((message) => invoke(message, process)))
  }
  return {
    ...run,
    visible: new Map(QUESTIONS.map((id) => [id, visible.filter((each) => each === id).length])),
    poisonDead: sqs.dead.filter(isPoison).length,
    othersDead: sqs.dead.filter((body) => !isPoison(body)).length,
  }

  /** Sends each question three times in random order. Some sends fail before or after the queue accepted them. */
  async function sendAll(): Promise<void> {
    const producer = queueProducer({ queue, store, preferences, keepMs: HOUR_MS })
    const questions = QUESTIONS.map((id, index) => question(id, CHANNELS[index]!, 'test', clock.now))
    // Its platform does not exist, so every attempt fails.
    questions.push(question('poison', CHANNELS[random(CHANNELS.length)]!, 'nowhere', clock.now))
    const sends = questions.flatMap((each) => [each, each, each])
    for (let i = sends.length - 1; i > 0; i--) {
      const j = random(i + 1)
      ;[sends[i], sends[j]] = [sends[j]!, sends[i]!]
    }
    // One message is not JSON.
    const junkAt = random(sends.length)
    for (const [index, each] of sends.entries()) {
      if (index === junkAt) {
        const attributes = {
          MessageGroupId: CHANNELS[random(CHANNELS.length)]!,
          MessageDeduplicationId: 'junk',
        }
        await askSqs(sqs, 'SendMessage', { MessageBody: 'no JSON', ...attributes })
      }
      if (random(6) === 0) {
        run.queueFaults++
        sqs.fault({ on: 'SendMessage', status: random(2) === 0 ? 503 : 0, applied: random(2) === 0 })
      }
      await producer.submit(each)
    }
    if (random(2) === 0) {
      run.queueFaults++
      sqs.duplicate(1)
    }
  }

  /** Receives up to `most` available messages, each of another group. */
  async function receive(most: number) {
    const input = { MaxNumberOfMessages: 1, VisibilityTimeout: HIDDEN_S }
    const taken = []
    for (let i = 0; i < most; i++) {
      const { Messages = [] } = await askSqs(sqs, 'ReceiveMessage', input)
      for (const message of Messages) {
        if (seen.has(message.MessageId)) run.redeliveries++
        seen.add(message.MessageId)
        taken.push(message)
      }
    }
    // Groups are independent, so their messages may start in any order.
    return random(2) === 0 ? taken : taken.reverse()
  }

  async function invoke(
    message: Awaited<ReturnType<typeof receive>>[number],
    by: { work: MessageHandler; died: Promise<'died'> },
  ): Promise<void> {
    const outcome = await Promise.race([processPartialResponse(eventOf([message]), by.work), by.died])
    // A crashed process reports no result.
    if (outcome === 'died') return
    if (outcome.batchItemFailures.length > 0) return
    await askSqs(sqs, 'DeleteMessage', { ReceiptHandle: message.ReceiptHandle })
  }
}

function isPoison(body: string): boolean {
  return body === 'no JSON' || body.includes('"platform":"nowhere"')
}

function question(id: string, channel: string, platform: string, askedAt: number): Question {
  return {
    id,
    platform,
    trigger: 'mention',
    asker: { id: 'ann' },
    text: 'how many?',
    pictures: [{ id: 'p', url: 'https://x/' }],
    conversations: [`thread in ${channel}`],
    channel,
    askedAt,
    route: {},
  }
}

export interface Totals extends Omit<Run, 'visible'> {
  runs: number
  questions: number
  /** Number of questions without a reply; `duplicates`: number of replies beyond the first. */
  missing: number
  duplicates: number
}

/** Returns the sums over runs with seeds 1, 2, 3, ... */
export async function playAll(runs: number, options: RunOptions = {}): Promise<Totals> {
  const sums: Totals = {
    runs,
    questions: 0,
    missing: 0,
    duplicates: 0,
    poisonDead: 0,
    othersDead: 0,
    deaths: 0,
    deathsBeforeReply: 0,
    deathsAfterPost: 0,
    platformFaults: 0,
    queueFaults: 0,
    redeliveries: 0,
  }
  for (let seed = 1; seed <= runs; seed++) {
    const { visible, ...numbers } = await play(seed, options)
    for (const name of Object.keys(numbers) as (keyof typeof numbers)[]) sums[name] += numbers[name]
    for (const count of visible.values()) {
      sums.questions++
      if (count === 0) sums.missing++
      sums.duplicates += Math.max(0, count - 1)
    }
  }
  return sums
}
