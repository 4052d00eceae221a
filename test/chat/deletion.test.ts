// Deletions in random threads, as both platforms name messages, files and conversations: what a deletion takes along, and
// that it takes nothing of others.

import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import { describe, expect, test } from 'vitest'
import { fileKey, type PictureRef, type Question } from '../../src/chat/question.ts'
import { questionOfMessage as discordQuestion } from '../../src/discord/message.ts'
import { parseMessage } from '../../src/discord/payloads.ts'
import { messageKey as discordKey } from '../../src/discord/target.ts'
import { sha256Hex } from '../../src/hash.ts'
import { questionOfMessage as slackQuestion } from '../../src/slack/message.ts'
import { messageSchema } from '../../src/slack/payloads.ts'
import { messageKey as slackKey } from '../../src/slack/target.ts'
import { openTestChat } from './chat.ts'

const RUNS = 60
const STEPS = 14

/** How a platform names things: the question of a message, and the id by which its deletion is reported. */
interface Naming {
  name: string
  /** `files` may be posted again in other messages only where a platform shares files. */
  sharesFiles: boolean
  question(message: {
    id: number
    root: number
    files: string[]
    text: string
    asks: boolean
  }): Question | undefined
  deletionId(id: number): string
}

const SLACK_PLACE = { team: 'T1', channel: 'C1' }
const ts = (id: number) => `${1_000 + id}.000000`
const slack: Naming = {
  name: 'slack',
  sharesFiles: true,
  deletionId: (id) => slackKey(SLACK_PLACE, ts(id)),
  question: ({ id, root, files, text, asks }) =>
    slackQuestion(
      messageSchema.parse({
        user: 'U1',
        ts: ts(id),
        thread_ts: root === id ? undefined : ts(root),
        text: `${asks ? '<@UBOT> ' : ''}${text}`,
        subtype: files.length > 0 ? 'file_share' : undefined,
        files: files.map((file) => ({
          id: file,
          mimetype: 'image/png',
          filetype: 'png',
          url_private: `https://files.slack.com/${file}`,
        })),
      }),
      { ...SLACK_PLACE, isDirect: false, me: 'UBOT', now: 1_000_000 },
    ),
}

const snowflake = (id: number) => String(900_000_000_000_000_000n + BigInt(id))
const discord: Naming = {
  name: 'discord',
  sharesFiles: false,
  deletionId: (id) => discordKey(snowflake(id)),
  question: ({ id, root, files, text, asks }) =>
    discordQuestion(
      parseMessage({
        id: snowflake(id),
        // A thread has the id of its first message.
        channel_id: root === id ? '10' : snowflake(root),
        channel_type: root === id ? 0 : 11,
        guild_id: '1',
        author: { id: '2' },
        content: `${asks ? '<@99> ' : ''}${text}`,
        mentions: asks ? [{ id: '99' }] : [],
        attachments: files.map((file) => ({
          id: file,
          filename: `${file}.png`,
          content_type: 'image/png',
          size: 1,
          url: `https://cdn.discordapp.com/attachments/1/${file}/a.png`,
        })),
      }),
      { me: '99', now: 1_000_000, messageContent: true },
    ),
}

describe.each([slack, discord])('on $name', (naming) => {
  test(`in ${RUNS} random threads a deletion takes all that is about its pictures, and nothing else`, async () => {
    let deletions = 0
    let replies = 0
    const wrong: string[] = []
    for (let seed = 1; seed <= RUNS; seed++) {
      const found = await play(naming, seed)
      deletions += found.deletions
      replies += found.replies
      for (const each of found.wrong) wrong.push(`seed ${seed}: ${each}`)
    }
    expect(wrong.slice(0, 10)).toEqual([])
    // Runs without replies and deletions prove nothing.
    expect(deletions).toBeGreaterThan(RUNS)
    expect(replies).toBeGreaterThan(2 * RUNS)
  })
})

async function play(naming: Naming, seed: number) {
  const source = xoroshiro128plus(seed)
  const sample = (count: number) => uniformInt(source, 0, count - 1)
  const chat = openTestChat({
    rateLimiter: { consume: async () => undefined },
    platform: { name: naming.name },
  })
  /** Pictures that a question was answered about, by the question's id. */
  const aboutOf = new Map<string, PictureRef[]>()
  const forgotten: string[] = []
  chat.engine.forget = async (picture) => void forgotten.push(picture)
  const sha = new Map<string, string>()
  const fetchPicture = chat.platform.fetchPicture
  chat.platform.fetchPicture = async (picture, withinMs) => {
    const bytes = await fetchPicture(picture, withinMs)
    sha.set(picture.id, sha256Hex(bytes))
    return bytes
  }
  const live = new Map<number, { files: string[]; question?: Question }>()
  const root = 1
  const files: string[] = []
  let next = 1
  let deletions = 0

  for (let step = 0; step < STEPS; step++) {
    const kind = sample(10)
    if (kind < 7 || live.size === 0) {
      const id = next++
      const mayShare = naming.sharesFiles && files.length > 0 && sample(4) === 0
      const own = sample(2) === 0 ? [mayShare ? files[sample(files.length)]! : `F${id}`] : []
      files.push(...own)
      const message = { id, root, files: own, asks: sample(3) > 0, text: `how many ${id}?` }
      const question = naming.question(message)
      live.set(id, { files: own, question })
      if (!question) continue
      const before = chat.posted.length
      await chat.ask(question)
      if (chat.posted.length === before) continue
      const { reply } = chat.posted.at(-1)!
      if (reply.parts.every((part) => part.kind === 'problem')) continue
      aboutOf.set(question.id, await picturesAbout(chat, question))
    } else {
      const ids = [...live.keys()]
      const id = ids[sample(ids.length)]!
      const { files: own } = live.get(id)!
      deletions++
      if (kind === 9 && own.length > 0) {
        // The file is deleted from all messages, which stay.
        await chat.processor.retract(fileKey(naming.name, own[0]!))
        for (const each of live.values()) each.files = each.files.filter((file) => file !== own[0])
      } else {
        await chat.processor.retract(naming.deletionId(id))
        live.delete(id)
      }
    }
  }

  const wrong: string[] = []
  const isLive = ({ id, postedIn }: PictureRef) =>
    [...live].some(([message, { files: own }]) => naming.deletionId(message) === postedIn && own.includes(id))
  const liveQuestions = new Set([...live.values()].map(({ question }) => question?.id))
  for (const [id, pictures] of aboutOf) {
    const mayStay = liveQuestions.has(id) && pictures.every(isLive)
    const isRemoved = chat.removed.includes(id)
    if (mayStay && isRemoved) wrong.push(`the reply to ${id} is gone, but nothing of it was deleted`)
    if (!mayStay && !isRemoved) wrong.push(`the reply to ${id} is there, but what it is about was deleted`)
  }
  const kept = await storedText(chat)
  for (const file of new Set(files)) {
    const isHeld = [...live.values()].some((each) => each.files.includes(file))
    if (!isHeld && kept.includes(`"${file}"`)) wrong.push(`${file} is kept, but no message has it`)
    const sha256 = sha.get(file)
    if (sha256 && !isHeld && !forgotten.includes(sha256)) wrong.push(`the vectors of ${file} are kept`)
  }
  for (let id = 1; id < next; id++) {
    if (!live.has(id) && kept.includes(`how many ${id}?`)) wrong.push(`the words of ${id} are kept`)
  }
  return { wrong, deletions, replies: aboutOf.size }
}

type TestChat = ReturnType<typeof openTestChat>

/** The pictures that this question was answered about, by the record of what was posted where. */
async function picturesAbout(chat: TestChat, { id }: Question): Promise<PictureRef[]> {
  const pictures = new Map<string, PictureRef>()
  for (const key of await chat.keys('posts/')) {
    const entries = JSON.parse(new TextDecoder().decode((await chat.store.read(key))!.bytes))
    for (const { file, message, questions } of entries)
      if (questions.includes(id)) pictures.set(`${file} ${message}`, { id: file, postedIn: message })
  }
  return [...pictures.values()]
}

async function storedText(chat: TestChat): Promise<string> {
  const texts: string[] = []
  for (const prefix of ['conversations/', 'posts/', 'jobs/', 'holders/']) {
    for (const key of await chat.keys(prefix))
      texts.push(new TextDecoder().decode((await chat.store.read(key))!.bytes))
  }
  return texts.join('\n')
}

describe('a deletion', () => {
  test('of a picture posted as a reply takes its answers, follow-ups and memory; the first picture keeps its own', async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('root'))
    await chat.ask(chat.question('m2', { conversations: ['root'] }), chat.followUp('f', 'root', 'how many?'))
    await chat.processor.retract('m2')
    expect(chat.removed.sort()).toEqual(['f', 'm2'])
    await chat.ask(chat.followUp('g', 'root', 'how many?', { asker: { id: 'ben' } }))
    expect(chat.texts().at(-1)).toBe('answer 1 to how many?')
    expect(chat.engine.asks.at(-1)!.image ?? chat.engine.asks.at(-1)!.picture).toBeDefined()
  })

  test('of a text that a thread begins with takes nothing of others', async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('m2', { conversations: ['root'] }), chat.followUp('f', 'root', 'how many?'))
    await chat.processor.retract('root')
    expect(chat.removed).toEqual([])
    await chat.ask(chat.followUp('g', 'root', 'and how big?', { asker: { id: 'ben' } }))
    expect(chat.posted).toHaveLength(3)
  })

  test('of a picture while a follow-up about it is answered leaves no reply', async () => {
    const chat = openTestChat()
    await chat.ask(chat.question('root'))
    chat.engine.hold()
    await chat.processor.submit(chat.followUp('f', 'root', 'how many?'))
    await chat.processor.retract('root')
    chat.engine.release()
    await chat.processor.drained()
    const left = chat.posted.map(({ id }) => id).filter((id) => !chat.removed.includes(id))
    expect(left).toEqual([])
    expect(await chat.keys('conversations/')).toEqual([])
  })

  test('of one of two messages with the same picture keeps its vectors, and of both does not', async () => {
    const forgotten: string[] = []
    const chat = openTestChat()
    chat.engine.forget = async (picture) => void forgotten.push(picture)
    const shared = (postedIn: string) => [{ id: 'F1', url: 'https://x/', postedIn }]
    await chat.ask(
      chat.question('a', { pictures: shared('a') }),
      chat.question('b', { pictures: shared('b') }),
    )
    await chat.processor.retract('a')
    expect([chat.removed, forgotten]).toEqual([['a'], []])
    await chat.processor.retract('b')
    expect([chat.removed, forgotten.length]).toEqual([['a', 'b'], 1])
    for (const prefix of ['posts/', 'holders/', 'conversations/']) expect(await chat.keys(prefix)).toEqual([])
  })
})
