// Which picture is meant, in which order questions are answered, and what a death leaves behind.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { PictureRef, Question } from '../../src/chat/question.ts'
import { createRateLimiter } from '../../src/chat/rate-limit.ts'
import { RequestError, UpstreamError } from '../../src/errors.ts'
import { en } from '../../src/i18n/en.ts'
import { queueProducer } from '../../src/queue/producer.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import type { Store } from '../../src/store/store.ts'
import { inMemoryQueue } from '../queue/in-memory.ts'
import { ALT_TEXT } from '../serve/double.ts'
import { until } from '../until.ts'
import { openTestChat } from './chat.ts'
import { inMemoryStore } from './in-memory-store.ts'

const pictureOf = (id: string, postedIn: string): PictureRef => ({
  id,
  name: `${id}.png`,
  url: 'https://x/',
  postedIn,
})

describe('the picture that is meant', () => {
  /** A thread with the picture `first`, and `second` and `third` in a later message that mentions nobody. */
  const thread = async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('root', { pictures: [pictureOf('first', 'root')] }))
    const later = [pictureOf('second', 'm2'), pictureOf('third', 'm2')]
    await chat.ask(
      chat.question('m2', { trigger: 'automatic', pictures: later, owner: 'ben', conversations: ['root'] }),
    )
    chat.posted.length = 0
    const asked = async (text: string, more: Partial<Question> = {}) => {
      const id = `q${chat.posted.length}`
      await chat.ask(chat.followUp(id, 'root', text, { trigger: 'mention', asker: { id: id }, ...more }))
      const about = chat.posted.at(-1)!.reply.notes.find((note) => note.startsWith('About'))
      return { texts: chat.posted.at(-1)!.reply.parts.map((part) => part.text), about }
    }
    return { chat, asked }
  }

  test('is the newest of the thread, and the reply names it', async () => {
    const { asked } = await thread()
    expect(await asked('how many?')).toEqual({
      texts: ['answer 1 to how many?', 'answer 1 to how many?'],
      about: 'About second.png, third.png.',
    })
  })

  test.each([
    ['what color is the car in the first picture?', 'answer 1 to what color is the car?', 'first.png'],
    ['describe the second picture', ALT_TEXT, 'third.png'],
    ['beschreibe das letzte Bild', ALT_TEXT, 'third.png'],
    ['describe la primera imagen', ALT_TEXT, 'second.png'],
    ['décris la deuxième image', ALT_TEXT, 'third.png'],
    ['3枚目を説明して', ALT_TEXT, 'third.png'],
    ['picture 1', ALT_TEXT, 'second.png'],
  ])('is chosen by %j', async (words, text, name) => {
    const { asked } = await thread()
    // Of a message with several pictures, those are counted.
    const expected = words.includes('in the first') ? 'second.png' : name
    expect(await asked(words)).toEqual({ texts: [text], about: `About ${expected}.` })
  })

  test('"both" chooses two, "and the last one?" repeats the question', async () => {
    const { asked } = await thread()
    expect((await asked('describe both')).texts).toEqual([ALT_TEXT, ALT_TEXT])
    expect((await asked('how many in the first picture?')).about).toBe('About second.png.')
    expect(await asked('and the last one?')).toEqual({
      texts: ['answer 1 to how many in the picture?'],
      about: 'About third.png.',
    })
    // What was asked about last is meant from then on.
    expect((await asked('what is it?')).about).toBe('About third.png.')
  })

  test('has its number in the reply when another picture has the same name', async () => {
    const chat = openTestChat()
    const image = (id: string, postedIn: string) => [{ ...pictureOf(id, postedIn), name: 'image.png' }]
    await chat.ask(chat.question('root', { pictures: image('a', 'root') }))
    await chat.ask(chat.question('m', { pictures: image('b', 'm'), conversations: ['root'] }))
    await chat.ask(chat.followUp('q', 'root', 'describe the second picture', { trigger: 'mention' }))
    expect(chat.posted.at(-1)!.reply.notes).toEqual([en.about(en.picture(2))])
  })

  test('is none that the bot cannot see, and no earlier one either', async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('a', { conversations: ['a', 'ann'], lastAsked: 'ann' }))
    chat.clock.now += 20 * 3_600_000
    const later = { pictures: [], owner: undefined, conversations: ['b', 'ann'], lastAsked: 'ann' }
    await chat.ask(chat.question('b', { ...later, text: 'what is this?', hasUnseen: true }))
    expect(chat.texts().at(-1)).toBe(en.problem.unseen)
    await chat.ask(chat.question('c', { ...later, text: 'what is it?' }))
    expect(chat.texts().at(-1)).toBe('answer 1 to what is it?')
    expect(chat.posted.at(-1)!.reply.notes).toContain(en.about(en.picture(1)))
  })

  test('of a thread that the bot never answered in is not remembered', async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('m', { trigger: 'automatic' }))
    expect(await chat.keys('conversations/')).toEqual([])
    expect(await chat.keys('posts/')).toEqual([])
  })
})

/** A store whose calls take turns at random: each waits for a number of turns of the event loop that its seed gives. */
function slowStore(store: Store, seed: number): Store {
  let state = seed
  const wait = async () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    for (let i = state % 40; i > 0; i--) await new Promise((resolve) => setImmediate(resolve))
  }
  return new Proxy(store, {
    get:
      (target, name: keyof Store) =>
      async (...given: unknown[]) => {
        await wait()
        const done = await (target[name] as (...all: unknown[]) => Promise<unknown>)(...given)
        await wait()
        return done
      },
  })
}

describe('a burst', () => {
  const seeds = Array.from({ length: 12 }, (_, i) => i + 1)
  const burst = (question: (id: string, more?: Partial<Question>) => Question) => [
    question('p', { conversations: ['p'] }),
    ...Array.from({ length: 4 }, (_, i) =>
      question(`f${i}`, {
        trigger: 'follow_up',
        text: `how many ${i}?`,
        pictures: [],
        owner: undefined,
        conversations: ['p'],
        asker: { id: `person ${i}` },
      }),
    ),
  ]

  test.each(seeds)('is answered in its order, whatever the store takes: seed %i', async (seed) => {
    const chat = openTestChat({ store: slowStore(inMemoryStore(), seed) })
    const questions = burst(chat.question).map((each, i) => ({ ...each, askedAt: chat.clock.now + i }))
    await Promise.all(questions.map((each) => chat.processor.submit(each)))
    await chat.processor.drained()
    expect(chat.posted.map(({ id }) => id)).toEqual(['p', 'f0', 'f1', 'f2', 'f3'])
    expect(chat.reported).toEqual([])
  })

  test('is answered in its order on disk', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'glimpse-chat-'))
    const chat = openTestChat({ store: await openDiskStore(folder) })
    await Promise.all(burst(chat.question).map((each) => chat.processor.submit(each)))
    await chat.processor.drained()
    await rm(folder, { recursive: true })
    expect(chat.posted.map(({ id }) => id)).toEqual(['p', 'f0', 'f1', 'f2', 'f3'])
  })

  test.each(seeds)('goes into the queue in its order: seed %i', async (seed) => {
    const chat = openTestChat({ store: slowStore(inMemoryStore(), seed) })
    const { store, preferences } = chat
    const queue = inMemoryQueue()
    const producer = queueProducer({ queue, store, preferences, keepMs: 1_000_000 })
    await Promise.all(burst(chat.question).map((each) => producer.submit(each)))
    const came: string[] = []
    const consumer = queue.consume(async (message) => {
      if (message.kind === 'question') came.push(message.question.id)
    })
    await until(() => came.length === 5)
    await consumer.stop(1_000)
    expect(came).toEqual(['p', 'f0', 'f1', 'f2', 'f3'])
  })

  test('whose picture waits for a fuller delivery waits with it', async () => {
    const passes: (() => void)[] = []
    const chat = openTestChat({ sleep: () => new Promise<void>((resolve) => void passes.push(resolve)) })
    const [picture, ...followUps] = burst(chat.question)
    const bare = chat.processor.submit({ ...picture!, pictures: [] }, 1_500)
    const rest = followUps.map((each) => chat.processor.submit(each))
    await chat.processor.submit(picture!)
    await Promise.all([bare, ...rest])
    await chat.processor.drained()
    expect(chat.posted.map(({ id }) => id)).toEqual(['p', 'f0', 'f1', 'f2', 'f3'])
    expect(chat.engine.asks).toHaveLength(5)
  })

  test('whose picture is not for the bot is not answered', async () => {
    const chat = openTestChat()
    const [picture, ...followUps] = burst(chat.question)
    const questions = [{ ...picture!, trigger: 'automatic' as const }, ...followUps]
    await Promise.all(questions.map((each) => chat.processor.submit(each)))
    await chat.processor.drained()
    expect(chat.posted).toEqual([])
  })
})

describe('after a death', () => {
  /** A process that died right after it posted the reply to `a`: nothing of its store's later writes is kept. */
  const diedAfterPost = async (more: Partial<Question> = {}) => {
    const shared = inMemoryStore()
    let isDead = false
    const store = new Proxy(shared, {
      get:
        (target, name: keyof Store) =>
        (...given: unknown[]) =>
          isDead
            ? new Promise(() => {})
            : (target[name] as (...all: unknown[]) => Promise<unknown>)(...given),
    })
    const first = openTestChat({ store })
    const post = first.platform.post
    first.platform.post = async (...given) => {
      const posted = await post(...given)
      isDead = true
      return posted
    }
    await first.preferences.setAutomatic('c', true)
    await first.processor.submit({ ...first.question('a', more), askedAt: first.clock.now })
    await until(() => isDead)
    const next = openTestChat({ store: shared })
    next.posted.push(...first.posted)
    next.clock.now = first.clock.now + 31_000
    const recover = async () => {
      await next.processor.recoverAbandoned()
      await next.processor.drained()
      await next.processor.shutdown()
    }
    return { next, recover }
  }

  test.each(['mention', 'automatic', 'direct'] as const)(
    'the reply to a %s is found, and its deletion deletes it',
    async (trigger) => {
      const { next, recover } = await diedAfterPost({ trigger })
      await recover()
      expect(next.posted).toHaveLength(1)
      await next.processor.retract('a')
      expect(next.removed).toEqual(['a'])
    },
  )

  test('of more than 15 minutes as well', async () => {
    const { next, recover } = await diedAfterPost()
    next.clock.now += 20 * 60_000
    await recover()
    await next.processor.retract('a')
    expect([next.posted.length, next.removed]).toEqual([1, ['a']])
  })

  test('when the second try has no answer as well', async () => {
    const { next, recover } = await diedAfterPost({ trigger: 'automatic' })
    next.engine.fail(new UpstreamError('slack_failed', 'No.'))
    await recover()
    await next.processor.retract('a')
    expect([next.posted.length, next.removed]).toEqual([1, ['a']])
  })

  test('its sign is removed', async () => {
    const { next, recover } = await diedAfterPost()
    const stopped: string[] = []
    next.platform.stopTyping = async ({ id }) => void stopped.push(id)
    next.clock.now += 20 * 60_000
    await recover()
    expect(stopped).toContain('a')
  })
})

describe('a progress sign that cannot be removed', () => {
  const failed = () => new UpstreamError('slack_failed', 'No.')
  /** Fails `failures` times. */
  const chatWith = (failures: number, store = inMemoryStore(), error: () => Error = failed) => {
    const tried: string[] = []
    const chat = openTestChat({
      store,
      platform: {
        stopTyping: async ({ id }) => {
          if (tried.push(id) <= failures) throw error()
        },
      },
    })
    return { chat, tried }
  }

  test.each(['answer', 'problem'])(
    'is removed some seconds after the %s, and the next question need not wait',
    async (kind) => {
      const { chat, tried } = chatWith(2)
      if (kind === 'problem') chat.engine.fail(failed())
      await chat.ask(chat.question('a'), chat.followUp('b', 'a', 'how many?', { isToUs: true }))
      expect(tried.filter((id) => id === 'a')).toHaveLength(3)
      expect(chat.posted).toHaveLength(2)
      expect(await chat.keys('open/')).toEqual([])
    },
  )

  test('is removed by the next process, once, and its question is not answered again', async () => {
    const store = inMemoryStore()
    const dead = chatWith(Infinity, store)
    await dead.chat.ask(dead.chat.question('a', { text: 'how many?' }))
    const next = chatWith(0, store)
    for (let round = 0; round < 2; round++) {
      await next.chat.processor.recoverAbandoned()
      await next.chat.processor.drained()
    }
    await next.chat.processor.shutdown()
    expect([next.tried, next.chat.posted]).toEqual([['a'], []])
    expect(await next.chat.keys('open/')).toEqual([])
  })

  test('is removed without recovery too, where a queue delivers questions again', async () => {
    const store = inMemoryStore()
    const dead = chatWith(Infinity, store)
    await dead.chat.processor.process(dead.chat.question('a'))
    await dead.chat.processor.drained()
    const next = chatWith(0, store)
    await next.chat.processor.removeSigns()
    expect(next.tried).toEqual(['a'])
  })

  test('is given up an hour after its question, and at once where the platform refuses', async () => {
    const lasting = chatWith(Infinity)
    await lasting.chat.ask(lasting.chat.question('a'))
    lasting.chat.clock.now += 61 * 60_000
    const before = lasting.tried.length
    await lasting.chat.processor.removeSigns()
    expect([lasting.tried.length, await lasting.chat.keys('open/')]).toEqual([before, []])
    const refused = chatWith(Infinity, inMemoryStore(), () => new RequestError('cannot_reply', 'No.'))
    await refused.chat.ask(refused.chat.question('a'))
    expect([refused.tried, await refused.chat.keys('open/')]).toEqual([['a'], []])
  })

  test('leaves no words of its question in the record', async () => {
    const { chat } = chatWith(Infinity)
    await chat.ask(chat.question('a', { text: 'how many wombats?' }))
    await chat.processor.retract('a')
    const kept = await Promise.all((await chat.keys('')).map((key) => chat.store.read(key)))
    const texts = kept.map((stored) => new TextDecoder().decode(stored?.bytes))
    expect(texts.filter((text) => text.includes('wombats'))).toEqual([])
    expect(texts.some((text) => text.includes('"sign"'))).toBe(true)
  })
})

describe('a picture with a question in a thread of others', () => {
  const asked = (chat: ReturnType<typeof openTestChat>, more: Partial<Question> = {}) =>
    chat.question('q', { trigger: 'follow_up', text: 'what is this?', conversations: ['theirs'], ...more })

  test('gets the caption that every picture of the channel gets', async () => {
    const chat = openTestChat()
    await chat.preferences.setAutomatic('c', true)
    await chat.ask(asked(chat))
    expect(chat.texts()).toEqual([ALT_TEXT])
    expect(chat.engine.asks.map(({ question }) => question ?? '')).toEqual([''])
  })
  test('gets nothing where the channel has none, or where its author described it', async () => {
    const chat = openTestChat()
    await chat.ask(asked(chat))
    await chat.preferences.setAutomatic('c', true)
    const described = { ...pictureOf('cat', 'r'), altText: 'Two cats' }
    await chat.ask(asked(chat, { id: 'r', pictures: [described] }))
    expect(chat.posted).toEqual([])
  })
  test('is answered in a thread of the bot', async () => {
    const chat = openTestChat()
    await chat.preferences.setAutomatic('c', true)
    await chat.ask(chat.question('root'), asked(chat, { conversations: ['root'] }))
    expect(chat.texts()).toEqual([ALT_TEXT, 'answer 1 to what is this?'])
  })
})

describe('a picture that its author described', () => {
  const cat = { ...pictureOf('cat', 'a'), altText: 'Two cats on a sofa' }
  const quote = 'Alt text by the author: “Two cats on a sofa”'

  test('is quoted where somebody asks for its alt text, and not where somebody asks about it', async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('a', { pictures: [cat], text: 'alt text please' }))
    await chat.ask(chat.followUp('b', 'a', 'how many?'), chat.followUp('c', 'a', 'describe it'))
    expect(chat.texts()).toEqual([
      `${quote} | ${ALT_TEXT}`,
      'answer 1 to how many?',
      `${quote} | ${ALT_TEXT}`,
    ])
  })
  test('is quoted also where the model does not know it, hidden where the picture is', async () => {
    const chat = openTestChat()
    chat.engine.knows(() => false)
    await chat.ask(chat.question('a', { pictures: [{ ...cat, spoiler: true }] }))
    expect(chat.posted[0]!.reply.parts).toEqual([
      { number: undefined, kind: 'answer', text: quote, spoiler: true },
      { number: undefined, kind: 'answer', text: en.unknownPicture, spoiler: true },
    ])
  })
})

describe('a private reply', () => {
  test('is not posted again when what follows it fails', async () => {
    const shared = inMemoryStore()
    let fails = true
    const failing = new Proxy(shared, {
      get:
        (target, name: keyof Store) =>
        async (...given: unknown[]) => {
          const isWrite = name === 'create' || name === 'replace'
          if (fails && isWrite && /^(conversations|posts)\//.test(String(given[0])))
            throw new UpstreamError('state_failed', 'No.')
          return await (target[name] as (...all: unknown[]) => Promise<unknown>)(...given)
        },
    })
    let visible = 0
    const platform = {
      findPosted: async () => undefined,
      post: async () => {
        visible++
        return []
      },
    }
    const chat = openTestChat({ store: failing, platform })
    const question = chat.question('a', { trigger: 'shortcut' })
    await expect(chat.processor.process(question)).rejects.toMatchObject({ code: 'state_failed' })
    await expect(chat.processor.process(question)).rejects.toMatchObject({ code: 'state_failed' })
    // Another process reads what the first one recorded.
    const other = openTestChat({ store: failing, platform })
    await expect(other.processor.process(question)).rejects.toMatchObject({ code: 'state_failed' })
    fails = false
    await other.processor.process(question)
    expect(visible).toBe(1)
  })
})

test('limits hold across processes', async () => {
  const store = inMemoryStore()
  const limiter = () =>
    createRateLimiter(
      { perMinute: 4, perHour: 20 },
      { store, time: { now: () => 1_000, sleep: async () => {} } },
    )
  const workers = [limiter(), limiter(), limiter(), limiter()]
  const waits = await Promise.all(Array.from({ length: 16 }, (_, i) => workers[i % 4]!.consume('test/ann')))
  expect(waits.filter((waitMs) => waitMs === undefined)).toHaveLength(4)
  expect(waits.filter((waitMs) => waitMs === 60_000)).toHaveLength(12)
  expect(await limiter().consume('test/ben')).toBeUndefined()
})
