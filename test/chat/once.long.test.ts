// Exactly one visible reply, whatever crashes and fails: a thousand runs, each with faults sampled from its seed.
//
// A run delivers three questions one to four times each, in any order. The platform fails before or after each call takes
// effect, and processes die at any step; others claim their jobs.

import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import { expect, test } from 'vitest'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor, type QuestionProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import { UpstreamError } from '../../src/errors.ts'
import { doubleEngine, PNG } from '../serve/double.ts'
import { inMemoryStore } from './in-memory-store.ts'

const RUNS = 1_000
const HOUR_MS = 3_600_000
const FATES = [
  'dies before',
  'dies after',
  ...Array(6).fill('fails before'),
  ...Array(6).fill('fails after'),
  ...Array(16).fill('well'),
]
const NEVER = new Promise<never>(() => {})

test(`in ${RUNS} runs each question has exactly one reply`, async () => {
  const wrong: string[] = []
  let deaths = 0
  let faults = 0
  for (let seed = 1; seed <= RUNS; seed++) {
    const run = await play(seed)
    deaths += run.deaths
    faults += run.faults
    for (const [id, count] of run.visible) if (count !== 1) wrong.push(`seed ${seed}: ${id} has ${count}`)
  }
  expect(wrong).toEqual([])
  // Runs without faults prove nothing.
  expect(deaths).toBeGreaterThan(RUNS / 2)
  expect(faults).toBeGreaterThan(RUNS)
  console.log(`${RUNS} runs: ${deaths} deaths, ${faults} faults, ${wrong.length} wrong`)
})

async function play(seed: number): Promise<{ visible: Map<string, number>; deaths: number; faults: number }> {
  const source = xoroshiro128plus(seed)
  const sample = (count: number) => uniformInt(source, 0, count - 1)
  const clock = { now: 1_000_000 }
  const shared = inMemoryStore(() => clock.now)
  const visible: string[] = []
  let deaths = 0
  let faults = 0
  // After this many faults no more occur, so that each run ends.
  let faultsLeft = 6 + sample(30)

  const start = (): { processor: QuestionProcessor; isDead: () => boolean } => {
    let isOver = false
    /** A step of this process: the process may die, or the step may fail, before or after `work`. */
    const step = async <T>(work: () => Promise<T>, canFail: boolean): Promise<T> => {
      if (isOver) return NEVER
      const fate = faultsLeft > 0 ? FATES[sample(FATES.length)] : 'well'
      if (fate !== 'well') faultsLeft--
      if (fate === 'dies before') return die()
      if (fate === 'fails before' && canFail) throw failed()
      const done = await work()
      if (isOver) return NEVER
      if (fate === 'dies after') return die()
      if (fate === 'fails after' && canFail) throw failed()
      return done
    }
    const die = (): Promise<never> => {
      if (!isOver) deaths++
      isOver = true
      return NEVER
    }
    const failed = () => {
      faults++
      return new UpstreamError('slack_failed', 'A fault of this run.')
    }
    const platform: Platform = {
      name: 'test',
      localeOf: async () => undefined,
      parentPictures: async () => ({ pictures: [] }),
      fetchPicture: () => step(async () => PNG, false),
      startTyping: async () => {},
      stopTyping: async () => {},
      post: (question) =>
        step(async () => {
          visible.push(question.id)
          return [{ id: question.id }]
        }, true),
      findPosted: (question) =>
        step(async () => (visible.includes(question.id) ? [{ id: question.id }] : undefined), true),
      deleteReply: async () => {},
    }
    const store = new Proxy(shared, {
      get: (target, name: keyof typeof shared) =>
        name === 'list' || name === 'sweep'
          ? target[name]
          : (...given: unknown[]) =>
              step(() => (target[name] as (...all: unknown[]) => Promise<never>)(...given), false),
    })
    const processor = openProcessor({
      engine: Promise.resolve(doubleEngine()),
      store,
      platforms: [platform],
      rateLimiter: { consume: async () => undefined },
      preferences: openPreferences(shared),
      maxQueue: 100,
      keepMs: HOUR_MS,
      report: () => {},
      now: () => clock.now,
      sleep: async () => {},
    })
    return { processor, isDead: () => isOver }
  }

  const questions = ['a', 'b', 'c'].map((id): Question => question(id, clock.now))
  const deliveries = questions.flatMap((each) => Array.from({ length: 1 + sample(4) }, () => each))
  for (let i = deliveries.length - 1; i > 0; i--) {
    const j = sample(i + 1)
    ;[deliveries[i], deliveries[j]] = [deliveries[j]!, deliveries[i]!]
  }

  let process = start()
  for (const each of deliveries) {
    // A platform delivers again what was not acknowledged.
    while (!(await accepted(process, each))) process = start()
    if (sample(3) === 0) await settle()
  }
  for (let tries = 0; tries < 50; tries++) {
    await settle()
    if (process.isDead()) process = start()
    clock.now += 31_000
    void process.processor.recoverAbandoned()
    await settle()
    if (await isAllDone(shared)) break
  }
  await process.processor.shutdown()
  return {
    visible: new Map(questions.map(({ id }) => [id, visible.filter((each) => each === id).length])),
    deaths,
    faults,
  }
}

/** False when the process died on the way. */
async function accepted(
  process: { processor: QuestionProcessor; isDead: () => boolean },
  each: Question,
): Promise<boolean> {
  const taken = process.processor.submit(each).then(() => true)
  return await Promise.race([taken, settle().then(() => !process.isDead())])
}

/** All work that does not wait for time has run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve))
}

async function isAllDone(store: ReturnType<typeof inMemoryStore>): Promise<boolean> {
  const jobs = await store.list('jobs/')
  const states = await Promise.all(
    jobs.map(async (key) => JSON.parse(new TextDecoder().decode((await store.read(key))!.bytes)).state),
  )
  return states.length === 3 && states.every((state) => state === 'done')
}

function question(id: string, askedAt: number): Question {
  return {
    id,
    platform: 'test',
    trigger: 'mention',
    asker: { id: 'ann' },
    text: 'how many?',
    pictures: [{ id: 'p', url: 'https://x/' }],
    conversations: [`thread ${id}`],
    channel: 'c',
    askedAt,
    route: {},
  }
}
