// A processor with a platform in memory, for tests of what people read: questions in, posted replies out.

import type { ChatReply } from '../../src/chat/compose.ts'
import type { Platform } from '../../src/chat/platform.ts'
import { openPreferences, type Preferences } from '../../src/chat/preferences.ts'
import { openProcessor, type ProcessorOptions, type QuestionProcessor } from '../../src/chat/processor.ts'
import type { Question } from '../../src/chat/question.ts'
import type { Store } from '../../src/store/store.ts'
import { type Double, doubleEngine, PNG } from '../serve/double.ts'
import { inMemoryStore, testLimiter } from './in-memory-store.ts'

export interface Chat {
  engine: Double
  store: Store
  preferences: Preferences
  processor: QuestionProcessor
  platform: Platform
  clock: { now: number }
  posted: { id: string; reply: ChatReply }[]
  /** Ids of the questions whose replies were deleted. */
  removed: string[]
  reported: unknown[]
  /** A mention with a picture, in a thread of its own. */
  question(id: string, more?: Partial<Question>): Question
  /** A message without a picture in the thread of `thread`, which does not mention the bot. */
  followUp(id: string, thread: string, text: string, more?: Partial<Question>): Question
  /** Submits each after the one before, and waits for all replies. */
  ask(...questions: Question[]): Promise<void>
  texts(): string[]
  keys(prefix: string): Promise<string[]>
}

/** The bytes of each picture are those of its id. */
export function pictureBytes(id: string): Uint8Array {
  return new Uint8Array([...PNG, ...new TextEncoder().encode(id)])
}

export function openTestChat(more: Partial<ProcessorOptions> & { platform?: Partial<Platform> } = {}): Chat {
  const clock = { now: 1_000_000 }
  const engine = doubleEngine()
  const store = more.store ?? inMemoryStore(() => clock.now)
  const preferences = openPreferences(store)
  const posted: Chat['posted'] = []
  const removed: string[] = []
  const reported: unknown[] = []
  const platform: Platform = {
    name: 'test',
    localeOf: async ({ asker }) => asker.locale,
    parentPictures: async () => ({ pictures: [] }),
    fetchPicture: async ({ id }) => pictureBytes(id),
    startTyping: async () => {},
    stopTyping: async () => {},
    async post({ id }, reply) {
      posted.push({ id, reply })
      return [{ id, conversation: `reply to ${id}` }]
    },
    findPosted: async ({ id }) => (posted.some((each) => each.id === id) ? [{ id }] : undefined),
    async deleteReply({ id }) {
      removed.push(id!)
    },
    ...more.platform,
  }
  const processor = openProcessor({
    engine: Promise.resolve(engine),
    store,
    platforms: [platform],
    rateLimiter: testLimiter({ perMinute: 4, perHour: 20 }),
    preferences,
    maxQueue: 8,
    keepMs: 86_400_000,
    report: (error) => reported.push(error),
    now: () => clock.now,
    sleep: async () => {},
    ...more,
  })
  const question: Chat['question'] = (id, fields = {}) => ({
    id,
    platform: 'test',
    trigger: 'mention',
    asker: { id: 'ann' },
    owner: 'ann',
    text: '',
    pictures: [{ id: `picture of ${id}`, url: 'https://x/', postedIn: id }],
    conversations: [id],
    channel: 'c',
    askedAt: clock.now,
    route: {},
    ...fields,
  })
  return {
    engine,
    store,
    preferences,
    processor,
    platform,
    clock,
    posted,
    removed,
    reported,
    question,
    followUp: (id, thread, text, fields) =>
      question(id, {
        trigger: 'follow_up',
        text,
        pictures: [],
        owner: undefined,
        conversations: [thread],
        ...fields,
      }),
    async ask(...questions) {
      for (const each of questions) {
        clock.now += 1
        await processor.submit({ ...each, askedAt: clock.now })
      }
      await processor.drained()
    },
    texts: () => posted.map(({ reply }) => reply.parts.map(({ text }) => text).join(' | ')),
    keys: (prefix) => store.list(prefix),
  }
}
