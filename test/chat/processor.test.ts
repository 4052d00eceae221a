// The desk's own rules, apart from any platform: what is taken, in which order it is answered, and what is forgotten.

import { beforeEach, describe, expect, test } from 'vitest'
import type { ChatReply } from '../../src/chat/compose.ts'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences } from '../../src/chat/preferences.ts'
import { openProcessor, type ProcessorOptions, type QuestionProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import { createRateLimiter } from '../../src/chat/rate-limit.ts'
import { BusyError, RequestError, UpstreamError } from '../../src/errors.ts'
import { resetMetrics } from '../../src/observe/metrics.ts'
import type { Store } from '../../src/store/store.ts'
import { measured } from '../measured.ts'
import { CAPTION, type Double, doubleEngine, PNG } from '../serve/double.ts'
import { until } from '../until.ts'
import { inMemoryStore } from './in-memory-store.ts'

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
    rateLimiter: createRateLimiter({ perMinute: 4, perHour: 20 }),
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
  pictures: [PICTURE],
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
  test('asked while the first answer is still being made is answered after it', async () => {
    engine.hold()
    await processor.submit(question('a'))
    await processor.submit(followUp('b', 'a'))
    engine.release()
    await processor.drained()
    expect(texts()).toEqual([CAPTION, 'answer 1 to how many?'])
  })

  test('waits for a picture that came under another of its names', async () => {
    engine.hold()
    await processor.submit(question('a', { trigger: 'direct', conversations: ['thread', 'direct'] }))
    await processor.submit(
      question('b', { trigger: 'direct', pictures: [], text: 'how many?', conversations: ['direct'] }),
    )
    engine.release()
    await processor.drained()
    expect(texts()).toEqual([CAPTION, 'answer 1 to how many?'])
  })

  test('in a thread we know nothing of is not taken, and nothing of it is kept', async () => {
    await ask(followUp('b', 'elsewhere'))
    expect(posted).toEqual([])
    expect(await store.list('jobs/')).toEqual([])
  })

  test('to a reply of ours is answered also when what it was about is forgotten', async () => {
    await ask({ ...followUp('b', 'forgotten'), isToUs: true })
    expect(texts()[0]).toContain('no picture')
  })

  test('goes on about all pictures after one of them could not be looked at once', async () => {
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
  test('the picture’s message takes all replies in its thread away, and all that was kept', async () => {
    await ask(question('a'), followUp('b', 'a'))
    await ask(followUp('c', 'reply to b'))
    await processor.retract('a')
    expect(removed.sort()).toEqual(['a', 'b', 'c'])
    expect(await kept()).toBe(0)
    await ask(followUp('d', 'a'))
    expect(posted).toHaveLength(3)
  })

  test('the picture’s message under which somebody else asked does so as well', async () => {
    // The thread is named by its first message, which asked nothing.
    await ask(question('b', { conversations: ['root'] }))
    await processor.retract('root')
    expect(removed).toEqual(['b'])
    expect(await kept()).toBe(0)
  })

  test('a follow-up takes its own reply and its words out of the thread', async () => {
    await ask(question('a', { text: 'what is it?' }), followUp('b', 'a', 'my secret?'))
    await processor.retract('b')
    await ask(followUp('c', 'a', 'and now?'))
    expect(removed).toEqual(['b'])
    expect(JSON.stringify(engine.asks.at(-1)!.history)).not.toContain('secret')
    expect(engine.asks.at(-1)!.history).toHaveLength(1)
  })

  test.each([
    ['a follow-up', ['b', 'reply to b']],
    ['a reply of ours, by whoever may', ['reply to b']],
  ])('%s leaves the other replies alone, whatever the platform tells of it', async (_, gone) => {
    // As on Discord, where each message is a name of the conversation it belongs to.
    await ask(question('a'), { ...followUp('b', 'a'), conversations: ['a', 'b'] })
    for (const id of gone) await processor.retract(id)
    expect(removed).toEqual(gone.includes('b') ? ['b'] : [])
    await ask(followUp('c', 'a'))
    expect(posted).toHaveLength(3)
  })

  test('one of two questions about somebody else’s picture leaves the other alone', async () => {
    const pictures = [{ ...PICTURE, message: { channel: 'c', id: 'p' } }]
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

  test('that cannot be done is not passed over: it is to come again, and then is done', async () => {
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

  test('before the answer is there leaves none', async () => {
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
  test('a picture posted where all are described costs its poster nothing', async () => {
    await openPreferences(store).setAutomatic('c', true)
    await ask(...Array.from({ length: 6 }, (_, i) => question(`p${i}`, { trigger: 'automatic' })))
    await ask(question('a'))
    expect(texts()).toEqual(Array(7).fill(CAPTION))
  })

  test('of many at once those too many are told so, and how many are before them', async () => {
    processor = open({ maxQueue: 2, rateLimiter: createRateLimiter({ perMinute: 100, perHour: 100 }) })
    engine.hold()
    await Promise.all(Array.from({ length: 10 }, (_, i) => processor.submit(question(`a${i}`))))
    await until(() => posted.length === 7)
    engine.release()
    await processor.drained()
    expect(texts().filter((text) => text.includes('busy: 3 requests'))).toHaveLength(7)
    expect(texts().filter((text) => text === CAPTION)).toHaveLength(3)
  })

  test('pictures that take all the time there is end in an answer about those that were in time', async () => {
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

  test('more than ten pictures are answered about ten, and the rest is counted', async () => {
    const pictures = Array.from({ length: 13 }, (_, i) => ({ id: `${i}`, url: 'https://x/' }))
    await ask(question('a', { pictures }))
    expect(posted[0]!.reply.parts).toHaveLength(10)
    expect(posted[0]!.reply.notes.join()).toContain('3 more pictures')
  })
})

describe('stopping and starting', () => {
  test('what the end of a process interrupts is answered by the next one, not refused', async () => {
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

  test('what was left is taken up in the order it was asked', async () => {
    const dead = open({ engine: new Promise(() => {}) })
    for (let i = 0; i < 5; i++) {
      clock.now += 1
      await dead.submit(question(`a${i}`, { asker: { id: `person ${i}` } }))
    }
    clock.now += 31_000
    // The one that died holds nothing any more.
    await processor.recoverAbandoned()
    await processor.drained()
    expect(posted.map(({ id }) => id)).toEqual(['a0', 'a1', 'a2', 'a3', 'a4'])
    await processor.shutdown()
  })

  test('a record that cannot be read hinders no other', async () => {
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

describe('a question out of a queue', () => {
  const later = () => {
    clock.now += 31_000
  }

  test('is settled once it is answered, and not answered again when it comes again', async () => {
    await processor.process(question('a'))
    expect(texts()).toEqual([CAPTION])
    await processor.process(question('a'))
    await open().process(question('a'))
    expect(posted).toHaveLength(1)
  })

  test('that another process answers is to come again, and is then settled', async () => {
    engine.hold()
    const first = processor.process(question('a'))
    await until(() => engine.asks.length > 0)
    await expect(open().process(question('a'))).rejects.toMatchObject({ code: 'held' })
    engine.release()
    await first
    await open().process(question('a'))
    expect(posted).toHaveLength(1)
  })

  test('over which a process died is taken over when its claim has run out', async () => {
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
      // Posted, but what would say so is lost.
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

  test('that fails is to come again, at once to whoever is there', async () => {
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

  test('that a stop interrupts is let go: the next has it without waiting', async () => {
    const stopping = open({ engine: new Promise(() => {}) })
    const settling = stopping.process(question('a'))
    settling.catch(() => {})
    await until(async () => (await store.list('jobs/')).length > 0)
    await stopping.shutdown(0)
    await expect(settling).rejects.toMatchObject({ code: 'stopping' })
    await expect(stopping.process(question('b'))).rejects.toMatchObject({ code: 'stopping' })
    await processor.process(question('a'))
    expect(texts()).toEqual([CAPTION])
  })

  test('that was withdrawn before it came is settled without a word', async () => {
    await processor.retract('a')
    await processor.process(question('a'))
    expect(posted).toEqual([])
  })
})

test('when everything is answered nothing is looked through again', async () => {
  await ask(question('a'), question('b'))
  expect(await store.list('open/')).toEqual([])
})

describe('an engine that may have to wake up first', () => {
  test('gets as long as it says it needs, past what people are used to', async () => {
    await ask(question('a'))
    processor = open({ engine: Promise.resolve({ ...engine, pending: 0, maxWaitMs: 600_000 }) })
    await ask(question('b'))
    const [awake, asleep] = engine.asks.map(({ deadlineMs }) => deadlineMs!)
    expect(awake).toBeLessThanOrEqual(45_000)
    expect(asleep).toBe(600_000)
    expect(texts()).toEqual([CAPTION, CAPTION])
  })

  test('its asker sees all the while that work goes on', async () => {
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

test('each question is counted by how it ended', async () => {
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
