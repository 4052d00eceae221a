// The processor without a platform: what is answered, in which order, what is deleted, and who holds a job.

import { beforeEach, describe, expect, test } from 'vitest'
import type { ChatReply } from '../../src/chat/compose.ts'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor, type ProcessorOptions, type QuestionProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import { ArtifactError, BusyError, RequestError, SetupError, UpstreamError } from '../../src/errors.ts'
import { metricsText, resetMetrics } from '../../src/observe/metrics.ts'
import type { Store } from '../../src/store/store.ts'
import { measured } from '../measured.ts'
import { ALT_TEXT as CAPTION, type Double, doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'
import { inMemoryStore, testLimiter } from './in-memory-store.ts'

const DAY_MS = 86_400_000
const clock = { now: 1_000_000 }
let engine: Double
let store: Store
let posted: { id: string; reply: ChatReply }[]
let removed: string[]
let reported: unknown[]
let fetchPicture: Platform['fetchPicture']
let processor: QuestionProcessor

const open = (more: Partial<ProcessorOptions> = {}) =>
  openProcessor({
    engine: Promise.resolve(engine),
    store,
    platforms: [platform],
    rateLimiter: testLimiter({ perMinute: 4, perHour: 20 }),
    preferences: openPreferences(store),
    maxQueue: 8,
    keepMs: DAY_MS,
    report: (error) => reported.push(error),
    now: () => clock.now,
    sleep: async () => {},
    ...more,
  })
const platform: Platform = {
  name: 'test',
  localeOf: async ({ asker }) => asker.locale,
  parentPictures: async () => ({ pictures: [] }),
  fetchPicture: (...given) => fetchPicture(...given),
  startTyping: async () => {},
  stopTyping: async () => {},
  async post({ id }, reply) {
    posted.push({ id, reply })
    return [{ id, conversation: `reply to ${id}` }]
  },
  findPosted: async () => undefined,
  async deleteReply({ id }) {
    removed.push(id!)
  },
}
const PICTURE = { id: 'p', url: 'https://x/' }
const question = (id: string, more: Partial<Question> = {}): Question => ({
  id,
  platform: 'test',
  trigger: 'mention',
  asker: { id: 'ann' },
  owner: 'ann',
  text: '',
  pictures: [{ ...PICTURE, postedIn: more.conversations?.[0] ?? id }],
  conversations: [id],
  channel: 'c',
  askedAt: clock.now,
  route: {},
  ...more,
})
const followUp = (id: string, thread: string, text = 'how many?') =>
  question(id, { trigger: 'follow_up', text, pictures: [], owner: undefined, conversations: [thread] })
const ask = async (...questions: Question[]) => {
  for (const each of questions) await processor.submit(each)
  await processor.drained()
}
const texts = () => posted.map(({ reply }) => reply.parts.map(({ text }) => text).join(' | '))
const kept = async () => (await store.list('conversations/')).length

beforeEach(() => {
  clock.now = 1_000_000
  engine = doubleEngine()
  store = inMemoryStore(() => clock.now)
  posted = []
  removed = []
  reported = []
  fetchPicture = async () => PNG
  processor = open()
})

describe('a follow-up', () => {
  test('asked while the first question is still being answered is answered after it', async () => {
    engine.hold()
    await processor.submit(question('a'))
    await processor.submit(followUp('b', 'a'))
    engine.release()
    await processor.drained()
    expect(texts()).toEqual([CAPTION, 'answer 1 to how many?'])
  })

  test.each([
    ['', 'answer 1 to how many?'],
    ['look here', 'answer 2 to how many?'],
  ])('has the request of a named task as a turn only if it had words: %j', async (text, answer) => {
    const request = { task: 'answer', fields: { question: 'what is it?', settings: { num_beams: 2 } } }
    await ask(question('a', { text, request }), followUp('b', 'a'))
    expect(texts()).toEqual(['answer 1 to what is it?', answer])
    expect(engine.asks[0]).toMatchObject({ task: 'answer', settings: { num_beams: 2 }, image: PNG })
  })

  test('waits for a question that shares one of its conversations', async () => {
    engine.hold()
    await processor.submit(question('a', { trigger: 'direct', conversations: ['thread', 'direct'] }))
    await processor.submit(
      question('b', { trigger: 'direct', pictures: [], text: 'how many?', conversations: ['direct'] }),
    )
    engine.release()
    await processor.drained()
    expect(texts()).toEqual([CAPTION, 'answer 1 to how many?'])
  })

  test('in an unknown thread is not answered, and nothing of it is kept', async () => {
    await ask(followUp('b', 'unknown'))
    expect(posted).toEqual([])
    expect(await store.list('jobs/')).toEqual([])
  })

  test('to a reply of the bot is answered even when its conversation has expired', async () => {
    await ask({ ...followUp('b', 'expired'), isToUs: true })
    expect(texts()[0]).toContain('no picture')
  })

  test('is about all pictures, also one that could not be fetched the first time', async () => {
    const pictures = [PICTURE, { id: 'q', url: 'https://y/' }]
    let fails = true
    fetchPicture = async ({ id }) => {
      if (id === 'q' && fails) throw new RequestError('picture_gone', 'Gone.')
      return PNG
    }
    await ask(question('a', { pictures }))
    fails = false
    await ask(followUp('b', 'a'))
    expect(posted[0]!.reply.parts.map(({ kind }) => kind)).toEqual(['alt', 'problem'])
    expect(posted[1]!.reply.parts.map(({ number, kind }) => [number, kind])).toEqual([
      [1, 'answer'],
      [2, 'answer'],
    ])
  })
})

describe('deleting', () => {
  test('the picture’s message deletes all replies in its thread, and its conversation', async () => {
    await ask(question('a'), followUp('b', 'a'))
    await ask(followUp('c', 'reply to b'))
    await processor.retract('a')
    expect(removed.sort()).toEqual(['a', 'b', 'c'])
    expect(await kept()).toBe(0)
    await ask(followUp('d', 'a'))
    expect(posted).toHaveLength(3)
  })

  test('the picture’s message does so as well when another person asked about it', async () => {
    // The thread is named by its first message, which asked nothing.
    await ask(question('b', { conversations: ['root'] }))
    await processor.retract('root')
    expect(removed).toEqual(['b'])
    expect(await kept()).toBe(0)
  })

  test('a follow-up deletes its own reply and its turn', async () => {
    await ask(question('a', { text: 'what is it?' }), followUp('b', 'a', 'my secret?'))
    await processor.retract('b')
    await ask(followUp('c', 'a', 'and now?'))
    expect(removed).toEqual(['b'])
    expect(JSON.stringify(engine.asks.at(-1)!.history)).not.toContain('secret')
    expect(engine.asks.at(-1)!.history).toHaveLength(1)
  })

  test.each([
    ['a follow-up', ['b', 'reply to b']],
    ['a reply of the bot', ['reply to b']],
  ])('%s leaves the other replies alone, whichever deletions the platform reports', async (_, gone) => {
    // As on Discord, where each message is a name of the conversation it belongs to.
    await ask(question('a'), { ...followUp('b', 'a'), conversations: ['a', 'b'] })
    for (const id of gone) await processor.retract(id)
    expect(removed).toEqual(gone.includes('b') ? ['b'] : [])
    await ask(followUp('c', 'a'))
    expect(posted).toHaveLength(3)
  })

  test('one of two questions about another person’s picture leaves the other alone', async () => {
    const pictures = [{ ...PICTURE, postedIn: 'p', message: { channel: 'c', id: 'p' } }]
    const below = (id: string) => question(id, { pictures, source: id, conversations: ['p', id] })
    await ask(below('a'), below('b'))
    await processor.retract('b')
    expect(removed).toEqual(['b'])
    await processor.retract('p')
    expect(removed).toEqual(['b', 'a'])
    expect(await kept()).toBe(0)
  })

  test('a picture leaves alone what the same person asked about another', async () => {
    const other = { id: 'q', url: 'https://y/' }
    fetchPicture = async ({ id }) => (id === 'q' ? new Uint8Array([...PNG, 0]) : PNG)
    await ask(question('a', { conversations: ['a', 'asker'] }))
    await ask(question('b', { pictures: [other], conversations: ['b', 'asker'] }))
    await processor.retract('a')
    expect(removed).toEqual(['a'])
    await ask(followUp('c', 'b'), followUp('d', 'asker'))
    expect(posted).toHaveLength(4)
  })

  test('that fails throws, and succeeds when it is repeated', async () => {
    await ask(question('a'), followUp('b', 'a'))
    let isBusy = true
    const contended: Store = {
      ...store,
      replace: async (key, ...given) =>
        isBusy && key.startsWith('conversations/') ? undefined : await store.replace(key, ...given),
    }
    const sleep = async (ms: number) => {
      clock.now += ms
    }
    const other = open({ store: contended, sleep })
    await expect(other.retract('b')).rejects.toMatchObject({ code: 'state_contended' })
    isBusy = false
    await other.retract('b')
    expect(removed).toEqual(['b'])
  })

  test('before the answer is posted posts none', async () => {
    engine.hold()
    await processor.submit(question('a'))
    await processor.retract('a')
    engine.release()
    await processor.drained()
    expect(posted).toEqual([])
    expect(await kept()).toBe(0)
  })
})

describe('limits', () => {
  test('automatic captions do not count towards the rate limit', async () => {
    await openPreferences(store).setAutomatic('c', true)
    await ask(...Array.from({ length: 6 }, (_, i) => question(`p${i}`, { trigger: 'automatic' })))
    await ask(question('a'))
    expect(texts()).toEqual(Array(7).fill(CAPTION))
  })

  test('questions beyond maxQueue are refused, with the number of requests ahead', async () => {
    processor = open({ maxQueue: 2, rateLimiter: testLimiter({ perMinute: 100, perHour: 100 }) })
    engine.hold()
    await Promise.all(Array.from({ length: 10 }, (_, i) => processor.submit(question(`a${i}`))))
    await until(() => posted.length === 7)
    engine.release()
    await processor.drained()
    expect(texts().filter((text) => text.includes('busy: 3 requests'))).toHaveLength(7)
    expect(texts().filter((text) => text === CAPTION)).toHaveLength(3)
  })

  test('pictures that take too long end in an answer about those that were in time', async () => {
    fetchPicture = async () => {
      clock.now += 20_000
      return PNG
    }
    await ask(
      question('a', { pictures: Array.from({ length: 5 }, (_, i) => ({ id: `${i}`, url: 'https://x/' })) }),
    )
    const { parts } = posted[0]!.reply
    expect(parts.map(({ kind }) => kind)).toEqual(['alt', 'alt', 'alt', 'problem', 'problem'])
    expect(parts.at(-1)!.text).toContain('too long')
  })

  test('of more than ten pictures ten are answered, and the rest is counted', async () => {
    const pictures = Array.from({ length: 13 }, (_, i) => ({ id: `${i}`, url: 'https://x/' }))
    await ask(question('a', { pictures }))
    expect(posted[0]!.reply.parts).toHaveLength(10)
    expect(posted[0]!.reply.notes.join()).toContain('3 more pictures')
  })
})

describe('stopping and starting', () => {
  test('a question that a stop interrupts is answered by the next process, not refused', async () => {
    engine.fail(new BusyError('stopping', 'Glimpse is stopping.'))
    await ask(question('a'))
    expect(posted).toEqual([])
    engine.fail(undefined)
    clock.now += 31_000
    processor = open()
    await processor.recoverAbandoned()
    await processor.drained()
    expect(texts()).toEqual([CAPTION])
    await processor.shutdown()
  })

  test('abandoned jobs are claimed in the order of their questions', async () => {
    const dead = open({ engine: new Promise(() => {}) })
    for (let i = 0; i < 5; i++) {
      clock.now += 1
      await dead.submit(question(`a${i}`, { asker: { id: `person ${i}` } }))
    }
    clock.now += 31_000
    // The leases of the dead process have expired.
    await processor.recoverAbandoned()
    await processor.drained()
    expect(posted.map(({ id }) => id)).toEqual(['a0', 'a1', 'a2', 'a3', 'a4'])
    await processor.shutdown()
  })

  test('a delivery that finds an expired lease is answered without waiting for recoverAbandoned', async () => {
    await open({ engine: new Promise(() => {}) }).submit(question('a'))
    await ask(question('a'))
    expect(posted).toEqual([])
    clock.now += 31_000
    await ask(question('a'))
    await ask(question('a'))
    expect(texts()).toEqual([CAPTION])
  })

  test('a job that cannot be parsed does not block others', async () => {
    const bytes = new TextEncoder().encode('{"state":"of another version"}')
    await store.create('open/aa', new Uint8Array(), DAY_MS)
    await store.create('jobs/aa', bytes, DAY_MS)
    const dead = open({ engine: new Promise(() => {}) })
    await dead.submit(question('a'))
    clock.now += 31_000
    await processor.recoverAbandoned()
    await processor.drained()
    expect(texts()).toEqual([CAPTION])
    expect(reported).toHaveLength(1)
    await processor.shutdown()
  })
})

describe('a question from a queue', () => {
  const later = () => {
    clock.now += 31_000
  }

  test('is answered once, also when it is delivered again', async () => {
    await processor.process(question('a'))
    expect(texts()).toEqual([CAPTION])
    await processor.process(question('a'))
    await open().process(question('a'))
    expect(posted).toHaveLength(1)
  })

  test('that another process answers fails with `held`, and is done when it is delivered again', async () => {
    engine.hold()
    const first = processor.process(question('a'))
    await until(() => engine.asks.length > 0)
    await expect(open().process(question('a'))).rejects.toMatchObject({ code: 'held' })
    engine.release()
    await first
    await open().process(question('a'))
    expect(posted).toHaveLength(1)
  })

  test('whose process died is claimed by another when the lease has expired', async () => {
    void open({ engine: new Promise(() => {}) })
      .process(question('a'))
      .catch(() => {})
    await until(async () => (await store.list('jobs/')).length > 0)
    await expect(processor.process(question('a'))).rejects.toMatchObject({ code: 'held' })
    later()
    await processor.process(question('a'))
    expect(texts()).toEqual([CAPTION])
  })

  test('whose reply a dead process posted is not answered again', async () => {
    let isDead = false
    const dying: Store = {
      ...store,
      // The reply is posted, but the record of it is lost.
      replace: (...given) => (isDead ? new Promise(() => {}) : store.replace(...given)),
    }
    const seen: Platform = {
      ...platform,
      async post(...given) {
        isDead = true
        return await platform.post(...given)
      },
      findPosted: async ({ id }) => (posted.some((each) => each.id === id) ? [{ id }] : undefined),
    }
    void open({ store: dying, platforms: [seen] })
      .process(question('a'))
      .catch(() => {})
    await until(() => isDead)
    later()
    await open({ platforms: [seen] }).process(question('a'))
    expect(posted).toHaveLength(1)
  })

  test('that fails can be claimed again at once', async () => {
    let fails = true
    const failing: Store = {
      ...store,
      async create(key, ...given) {
        if (fails && key.startsWith('conversations/')) throw new UpstreamError('state_failed', 'No.')
        return await store.create(key, ...given)
      },
      async replace(key, ...given) {
        if (fails && key.startsWith('conversations/')) throw new UpstreamError('state_failed', 'No.')
        return await store.replace(key, ...given)
      },
    }
    const seen: Platform = {
      ...platform,
      findPosted: async ({ id }) => (posted.some((each) => each.id === id) ? [{ id }] : undefined),
    }
    const other = open({ store: failing, platforms: [seen] })
    await expect(other.process(question('a'))).rejects.toMatchObject({ code: 'state_failed' })
    fails = false
    await other.process(question('a'))
    expect(posted).toHaveLength(1)
  })

  test('that a stop interrupts is released: the next process claims it at once', async () => {
    const stopping = open({ engine: new Promise(() => {}) })
    const processing = stopping.process(question('a'))
    processing.catch(() => {})
    await until(async () => (await store.list('jobs/')).length > 0)
    await stopping.shutdown(0)
    await expect(processing).rejects.toMatchObject({ code: 'stopping' })
    await expect(stopping.process(question('b'))).rejects.toMatchObject({ code: 'stopping' })
    await processor.process(question('a'))
    expect(texts()).toEqual([CAPTION])
  })

  test('that was retracted before its delivery is done without a reply', async () => {
    await processor.retract('a')
    await processor.process(question('a'))
    expect(posted).toEqual([])
  })
})

describe('a question whose process dies', () => {
  /** A process that ends in 50 s, and whose engine never answers. */
  const die = async (each: Question, more: Partial<ProcessorOptions> = {}) => {
    const dead = doubleEngine()
    dead.hold()
    void open({ engine: Promise.resolve(dead), ...more })
      .process(each, clock.now + 50_000)
      .catch(() => {})
    await until(() => dead.pending > 0)
  }

  test('can be claimed once that process must have ended', async () => {
    const asked = question('a')
    await die(asked)
    clock.now += 25_000
    await expect(open().process(asked, clock.now + 50_000)).rejects.toMatchObject({ code: 'held' })
    // Its heartbeat cannot extend the lease beyond its end.
    clock.now += 25_001
    await open().process(asked, clock.now + 50_000)
    expect(texts()).toEqual([CAPTION])
  })

  test('is answered although it is older than a quarter of an hour, and is not counted again', async () => {
    const asked = question('a')
    const rateLimiter = testLimiter({ perMinute: 1, perHour: 1 })
    await die(asked, { rateLimiter })
    clock.now += 16 * 60_000
    await open({ rateLimiter }).process(asked, clock.now + 50_000)
    expect(texts()).toEqual([CAPTION])
  })

  test('a reply that fails is not tried again after its process ends: the next delivery posts it', async () => {
    let fails = true
    const attempts: number[] = []
    const failing: Platform = {
      ...platform,
      async post(each, reply) {
        attempts.push(clock.now)
        if (fails) throw new UpstreamError('slack_failed', 'No.')
        return await platform.post(each, reply)
      },
    }
    const sleep = async (ms: number) => {
      clock.now += ms
    }
    const began = clock.now
    const asked = question('a')
    const processor = open({ platforms: [failing], sleep })
    await expect(processor.process(asked, began + 50_000)).rejects.toMatchObject({ code: 'stopping' })
    expect(attempts.length).toBeGreaterThan(2)
    // The longest call of a platform is 10 s.
    expect(Math.max(...attempts)).toBeLessThanOrEqual(began + 40_000)
    fails = false
    await open({ platforms: [failing], sleep }).process(asked, clock.now + 50_000)
    expect(texts()).toEqual([CAPTION])
  })

  test('the answer ends before its process: the engine has 20 s less', async () => {
    await open().process(question('a'), clock.now + 30_000)
    expect(engine.asks[0]!.deadlineMs).toBe(10_000)
  })

  test('a store that fails while a question is answered is no apology: the message comes again', async () => {
    const failing = { consume: () => Promise.reject(new UpstreamError('state_failed', 'No.')) }
    await expect(open({ rateLimiter: failing }).process(question('a'))).rejects.toMatchObject({
      code: 'state_failed',
    })
    expect(posted).toEqual([])
  })
})

test('answered questions leave no mark in open/', async () => {
  await ask(question('a'), question('b'))
  expect(await store.list('open/')).toEqual([])
})

describe('an engine that may have to start first', () => {
  test('gets its maxWaitMs as deadline, in place of 45 s', async () => {
    await ask(question('a'))
    processor = open({ engine: Promise.resolve({ ...engine, pending: 0, maxWaitMs: 600_000 }) })
    await ask(question('b'))
    const [warm, cold] = engine.asks.map(({ deadlineMs }) => deadlineMs!)
    expect(warm).toBeLessThanOrEqual(45_000)
    expect(cold).toBe(600_000)
    expect(texts()).toEqual([CAPTION, CAPTION])
  })

  test('the typing indicator stays until the reply', async () => {
    const showing: number[] = []
    const startTyping = async (_: Question, place: number) => void showing.push(place)
    processor = open({
      engine: Promise.resolve({ ...engine, pending: 0, maxWaitMs: 600_000 }),
      platforms: [{ ...platform, startTyping, stopTyping: async () => void showing.push(-1) }],
    })
    engine.hold()
    await processor.submit(question('a'))
    await expect.poll(() => showing.length).toBeGreaterThan(0)
    expect(showing).not.toContain(-1)
    engine.release()
    await processor.drained()
    expect(showing.at(-1)).toBe(-1)
  })
})

test('each question is counted by its outcome', async () => {
  const ended = (outcome: string) => measured('glimpse_chat_replies_total', { platform: 'test', outcome })
  resetMetrics()
  await ask(question('answered'))
  engine.fail(new RequestError('damaged_picture', 'words'))
  await ask(question('problem'))
  await openPreferences(store).setAutomatic('c', true)
  await ask(question('silent', { trigger: 'automatic' }))
  engine.fail(undefined)
  await ask(question('stale', { askedAt: clock.now - 16 * 60_000 }))
  for (const outcome of ['answered', 'problem', 'silent', 'stale']) expect(await ended(outcome)).toBe(1)
})

test.each([
  ['a request that ends at its deadline', new BusyError('deadline', 'No.'), 'deadline'],
  ['a model that does not start', new BusyError('model_down', 'No.'), 'model_down'],
  ['another machine that fails', new UpstreamError('engine_failed', 'No.'), 'engine_failed'],
  ['a setting of the operator', new SetupError('engine_refused', 'No.'), 'engine_refused'],
  ['an artifact that cannot be read', new ArtifactError('damaged_artifact', 'No.'), 'damaged_artifact'],
  ['a request that no asker can have made', new RequestError('bad_field', 'No.'), 'bad_field'],
  ['a bug', new Error('No.'), 'internal'],
])('%s is reported and counted by its code', async (_, error, code) => {
  resetMetrics()
  engine.fail(error)
  await ask(question('a'))
  expect(reported).toEqual([error])
  expect(await measured('glimpse_apologies_total', { code })).toBe(1)
})

test('an error of the asker is neither reported nor counted as an apology', async () => {
  resetMetrics()
  engine.fail(new RequestError('damaged_picture', 'No.'))
  await ask(question('a'), question('b', { pictures: [] }))
  expect(texts()).toHaveLength(2)
  expect(reported).toEqual([])
  expect((await metricsText()).text).not.toMatch(/^glimpse_apologies_total\{/m)
})
